"""How many entries models have changed together and alone, and the factors that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.blocks import blocks
from graphmerge.ops.regions import ActiveCounts, OverlapFactors
from graphmerge.statistics.registry import Statistic, register_reduction, register_small
from graphmerge.statistics.sums import BlockReduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.spec import TensorSpec


class ActiveCountsReduction(BlockReduction):
    """Counts of blocks add up; the statistic has a row (shared, unique) for every delta."""

    def begin(self, op: ActiveCounts, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """A zero per block, delta and count."""
        return np.zeros((blocks(inputs[0]), op.sum_columns(len(inputs))))

    def finish(
        self, op: ActiveCounts, state: Statistic, statistics: Sequence[Statistic]
    ) -> Statistic:
        """The counts, which are exact."""
        counts: Statistic = state.sum(axis=0).reshape(-1, 2)
        return counts


register_reduction(ActiveCounts, ActiveCountsReduction())


@register_small(OverlapFactors)
def overlap_factors(op: OverlapFactors, statistics: Sequence[Statistic]) -> Statistic:
    """1 + r * clip(shared / unique, 0, alpha)."""
    shared, unique = statistics[0].T
    ratio = np.divide(shared, unique, out=np.zeros_like(shared), where=unique > 0)
    factors: Statistic = 1.0 + op.r * np.clip(ratio, 0.0, op.alpha)
    return factors
