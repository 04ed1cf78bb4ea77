"""Sums over a tensor: float64 sums of numerics blocks, then added up exactly.

The sum of a block is defined to the last bit, so that every executor gives the same: element j is
added to lane j mod 128, in order; then the upper half of the lanes is added to the lower half
until one is left. The blocks' sums are added without rounding, so in any order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.blocks import BLOCK_ELEMENTS, blocks
from graphmerge.ops.consensus import SignBalance
from graphmerge.ops.rescale import AbsoluteSum, Ratio
from graphmerge.ops.spherical import Gram
from graphmerge.ops.task_masks import ListNumbers, NumberAt
from graphmerge.statistics.quiet import QUIET
from graphmerge.statistics.registry import (
    Partial,
    Reduction,
    Statistic,
    register_reduction,
    register_small,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.graph import Op
    from graphmerge.spec import TensorSpec


class BlockReduction(Reduction):
    """A reduction whose partial result is one row per block of the tile."""

    def combine(self, state: Statistic, partial: Partial, start: int) -> None:
        """Blocks to their places."""
        first = start // BLOCK_ELEMENTS
        state[first : first + len(partial)] = partial.reshape(len(partial), *state.shape[1:])


class SumReduction(BlockReduction):
    """One sum over all blocks."""

    def begin(self, op: Op, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """A zero per block."""
        return np.zeros(blocks(inputs[0]))

    def finish(self, op: Op, state: Statistic, statistics: Sequence[Statistic]) -> Statistic:
        """The sum of all blocks."""
        return np.array(exact_sum(state))


class GramReduction(BlockReduction):
    """Inner products of all pairs; a partial result is a row of `pairs` per block."""

    def begin(self, op: Gram, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """A zero per block and pair."""
        return np.zeros((blocks(inputs[0]), op.sum_columns(len(inputs))))

    def finish(self, op: Gram, state: Statistic, statistics: Sequence[Statistic]) -> Statistic:
        """The symmetric matrix of the sums of all blocks."""
        count = math.isqrt(2 * state.shape[1])
        gram = np.empty((count, count))
        for column, (i, j) in enumerate(pairs(count)):
            gram[i, j] = gram[j, i] = exact_sum(state[:, column])
        return gram


def pairs(count: int) -> list[tuple[int, int]]:
    """The pairs (i, j) with j <= i of `count` tensors, in the order of a Gram matrix's partials."""
    return [(i, j) for i in range(count) for j in range(i + 1)]


def draws_are_negative(balance: Statistic) -> bool:
    """Whether draws count as negative, by the sum of all votes."""
    return float(balance.item()) < 0


@QUIET
def exact_sum(values: Statistic) -> float:
    """The correctly rounded sum; infinite or NaN where the plain sum is."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return float(values.sum())


register_reduction(AbsoluteSum, SumReduction())
register_reduction(SignBalance, SumReduction())
register_reduction(NumberAt, SumReduction())
register_reduction(Gram, GramReduction())


@register_small(Ratio)
def ratio(op: Ratio, statistics: Sequence[Statistic]) -> Statistic:
    """a / b, 1 where b is zero."""
    numerator, denominator = statistics
    return np.array(float(numerator) / float(denominator) if denominator else 1.0)


@register_small(ListNumbers)
def list_numbers(op: ListNumbers, statistics: Sequence[Statistic]) -> Statistic:
    """The numbers in a row."""
    return np.array([float(number) for number in statistics])
