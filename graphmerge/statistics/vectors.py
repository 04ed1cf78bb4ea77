"""Inner products of the many vectors of a tensor.

Sums are defined to the last bit, whatever the tiles. A row is cut at every 1024th element of the
tensor; element j of a piece is added to lane j mod 16, in order, and the lanes are folded in
halves; pieces are added up in order within each numerics block, and the blocks in order. Of columns
sixteen elements at a time are added to as many slots, in order within a block; blocks are added up
as the leaves of a binary tree, of which only what has no neighbour yet is held.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.ops.blocks import BLOCK_ELEMENTS, blocks
from graphmerge.ops.vectors import ColumnGram, RowGram, pair_count
from graphmerge.statistics.quiet import QUIET
from graphmerge.statistics.registry import Partial, Reduction, Statistic, register_reduction
from graphmerge.statistics.sums import BlockReduction, pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.spec import TensorSpec


def partial_of(op: RowGram | ColumnGram, count: int, elements: int) -> Partial:
    """Zeros for the partial result of a tile: shape (blocks, pairs, slots)."""
    return np.zeros((-(-elements // BLOCK_ELEMENTS), pair_count(count), op.slots))


def _matrices(sums: Statistic, count: int) -> Statistic:
    """Symmetric matrices, shape (vectors, n, n), from sums of shape (pairs, vectors)."""
    matrices = np.empty((sums.shape[1], count, count))
    for pair, (i, j) in enumerate(pairs(count)):
        matrices[:, i, j] = matrices[:, j, i] = sums[pair]
    return matrices


class RowGramReduction(BlockReduction):
    """A sum per block, pair and row in the block."""

    def begin(self, op: RowGram, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """Zeros."""
        return np.zeros((blocks(inputs[0]), pair_count(len(inputs)), op.slots))

    @QUIET
    def finish(self, op: RowGram, state: Statistic, statistics: Sequence[Statistic]) -> Statistic:
        """The parts of each row, block by block."""
        sums = np.zeros((state.shape[1], op.rows))
        for block, part in enumerate(state):
            first = block * BLOCK_ELEMENTS // op.row
            kept = min(op.slots, op.rows - first)
            sums[:, first : first + kept] += part[:, :kept]
        return _matrices(sums, math.isqrt(2 * len(sums)))


class ColumnTree:
    """Sums of runs of blocks, by level and number in the level."""

    def __init__(self, op: ColumnGram, inputs: tuple[TensorSpec, ...]) -> None:
        self._op = op
        self._count = len(inputs)
        self._leaves = blocks(inputs[0])
        self._sums: dict[tuple[int, int], Statistic] = {}

    def _add(self, block: int, sums: Statistic) -> None:
        """Take in a block; neighbours become their sum, a last one without neighbour moves up."""
        level, number, size = 0, block, self._leaves
        while size > 1:
            neighbour = number ^ 1
            if neighbour < size:
                if (level, neighbour) not in self._sums:
                    break
                sums = sums + self._sums.pop((level, neighbour))
            level, number, size = level + 1, number // 2, (size + 1) // 2
        self._sums[level, number] = sums

    @QUIET
    def take(self, block: int, partial: Partial) -> None:
        """Take in the slots of a block, pair by pair, at the columns that they are for."""
        columns = self._op.columns
        slots = partial.reshape(-1, self._op.slots)
        sums = np.zeros((len(slots), columns))
        for first in range(0, slots.shape[1], columns):
            piece = slots[:, first : first + columns]
            sums[:, : piece.shape[1]] += piece
        self._add(block, np.roll(sums, block * BLOCK_ELEMENTS % columns, axis=1))

    def matrices(self) -> Statistic:
        """Inner products of every column, when all blocks are in."""
        (sums,) = self._sums.values()
        return _matrices(sums, self._count)


class ColumnGramReduction(Reduction):
    """A sum per pair and column."""

    def begin(self, op: ColumnGram, inputs: tuple[TensorSpec, ...]) -> Any:
        """An empty tree."""
        return ColumnTree(op, inputs)

    def combine(self, state: Any, partial: Partial, start: int) -> None:
        """Every block of the tile into the tree."""
        for block, part in enumerate(partial, start // BLOCK_ELEMENTS):
            state.take(block, part)

    def finish(self, op: ColumnGram, state: Any, statistics: Sequence[Statistic]) -> Statistic:
        """The sums of all columns."""
        matrices: Statistic = state.matrices()
        return matrices


register_reduction(RowGram, RowGramReduction())
register_reduction(ColumnGram, ColumnGramReduction())
