"""Kernels of norms and their ratios."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from graphmerge.kernels.blockwise import store_blocks
from graphmerge.kernels.registry import (
    Partial,
    ReducedTile,
    Reduction,
    Statistic,
    register_reduction,
    register_small,
)
from graphmerge.ops import AbsoluteSum, Ratio
from graphmerge.ops.blocks import BLOCK_ELEMENTS, blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.spec import TensorSpec


class AbsoluteSumReduction(Reduction):
    """sum |x|: float64 sums of blocks, added up exactly (math.fsum), so in any order."""

    def begin(self, op: AbsoluteSum, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """A zero per block."""
        return np.zeros(blocks(inputs[0]))

    def update(self, op: AbsoluteSum, tile: ReducedTile) -> Partial:
        """The sum of each block of the tile."""
        x, wide = tile.inputs[0], tile.scratch[0]
        sums = []
        for start in range(0, x.numel(), BLOCK_ELEMENTS):
            block = x[start : start + BLOCK_ELEMENTS]
            sums.append(float(wide[: block.numel()].copy_(block).abs_().sum()))
        return np.array(sums)

    def combine(self, state: Statistic, partial: Partial, start: int) -> None:
        """Blocks to their places."""
        store_blocks(state, partial, start)

    def finish(
        self,
        op: AbsoluteSum,
        state: Statistic,
        statistics: Sequence[Statistic],
    ) -> Statistic:
        """The sum of all blocks."""
        return np.array(exact_sum(state))


def exact_sum(values: Statistic) -> float:
    """The correctly rounded sum; infinite or NaN where the plain sum is."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return float(values.sum())


register_reduction(AbsoluteSum, AbsoluteSumReduction())


@register_small(Ratio)
def ratio(op: Ratio, statistics: Sequence[Statistic]) -> Statistic:
    """A / b, 1 where b is zero."""
    numerator, denominator = statistics
    return np.array(float(numerator) / float(denominator) if denominator else 1.0)
