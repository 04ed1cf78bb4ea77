"""The Riemannian mean of directions, found on their Gram matrix alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.coefficients import LEAST_LENGTH, KarcherCoefficients
from graphmerge.statistics.coefficients import length_of, norms
from graphmerge.statistics.quiet import QUIET
from graphmerge.statistics.registry import Statistic, register_small

if TYPE_CHECKING:
    from collections.abc import Sequence


@register_small(KarcherCoefficients)
@QUIET
def karcher_coefficients(op: KarcherCoefficients, statistics: Sequence[Statistic]) -> Statistic:
    """Coefficients of the mean; zero for vectors that have no direction."""
    gram = statistics[0]
    lengths = norms(gram)
    kept = np.flatnonzero(~(lengths <= op.tol))
    coefficients = np.zeros(len(lengths))
    if len(kept):
        cosines = gram[np.ix_(kept, kept)] / np.outer(lengths[kept], lengths[kept])
        mean = _mean_direction(cosines, op)
        coefficients[kept] = mean * lengths.mean() / lengths[kept]
    return coefficients


def _mean_direction(cosines: Statistic, op: KarcherCoefficients) -> Statistic:
    """The mean as a combination of the directions, from their cosines."""
    mean = np.full(len(cosines), 1 / len(cosines))
    length = length_of(mean, cosines)
    mean = np.eye(len(cosines))[0] if length < max(op.tol, LEAST_LENGTH) else mean / length
    for _ in range(op.max_iter):
        step = _step(cosines, mean)
        length = length_of(step, cosines)
        if not length >= op.tol or length == 0:
            break
        mean = np.cos(length) * mean + np.sin(length) / length * step
        mean /= length_of(mean, cosines)
    return mean


def _step(cosines: Statistic, mean: Statistic) -> Statistic:
    """The mean of the logarithms (W_i / sin W_i) (u_i - cos W_i u) of all directions.

    To the opposite direction no way is the shortest, and none is taken.
    """
    to_each = np.clip(cosines @ mean, -1.0, 1.0)
    angles = np.arccos(to_each)
    sines = np.sin(angles)
    is_far = sines > LEAST_LENGTH
    factors = np.where(is_far, angles / np.where(is_far, sines, 1.0), to_each > 0) / len(cosines)
    step: Statistic = factors - (factors @ to_each) * mean
    return step
