"""Order statistics as numbers, and what parameters that compete make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.competition import CompetitionScore, Magnitudes
from graphmerge.spec import DType
from graphmerge.statistics.registry import Statistic, register_small

if TYPE_CHECKING:
    from collections.abc import Sequence


@register_small(Magnitudes)
def magnitudes(op: Magnitudes, statistics: Sequence[Statistic]) -> Statistic:
    """The number of each row's bits."""
    bits = statistics[0][:, 0]
    if op.dtype is DType.F32:
        return bits.astype(np.int32).view(np.float32).astype(np.float64)
    return bits.view(np.float64).copy()


LEAST_RANGE = 1e-300
"""Bounds that are as close as this are the same."""
LEAST_DIVISOR = 1e-12
"""A sum of shares below this counts as this."""


def strength_of(op: CompetitionScore, bounds: Statistic) -> tuple[float, float, float]:
    """Bounds of the magnitudes of a delta, and what maps the distance from the lower one to 1."""
    low, high = map(float, bounds[2 * op.place : 2 * op.place + 2])
    return low, high, 1.0 / (high - low) if high - low > LEAST_RANGE else 1.0


def shares_of(limits: Statistic) -> list[tuple[float, float]]:
    """For every delta the threshold of its scores, and what a score beyond it is divided by."""
    pairs = limits.reshape(-1, 2).tolist()
    return [(least, most - least if most > least else 1.0) for least, most in pairs]
