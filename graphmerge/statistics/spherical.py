"""Coefficients of spherical interpolation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.spherical import SphericalCoefficients
from graphmerge.statistics.registry import Statistic, register_small

if TYPE_CHECKING:
    from collections.abc import Sequence


@register_small(SphericalCoefficients)
def spherical_coefficients(op: SphericalCoefficients, statistics: Sequence[Statistic]) -> Statistic:
    """(sin((1-t)W), sin(tW)) / sin W, or (1-t, t) where the vectors are nearly parallel."""
    gram = statistics[0]
    lengths = [math.sqrt(max(gram[i, i], 0.0)) for i in (0, 1)]
    units = [length if length > op.least_norm else 1.0 for length in lengths]
    cosine = float(gram[0, 1]) / (units[0] * units[1])
    if not abs(cosine) <= op.parallel_cosine:  # NaN goes the linear way too
        return np.array([1 - op.t, op.t])
    angle = math.acos(cosine)
    return np.array([math.sin((1 - op.t) * angle), math.sin(op.t * angle)]) / math.sin(angle)
