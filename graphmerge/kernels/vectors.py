"""Kernels of inner products and combinations of the vectors of a tensor.

Sums go by numerics blocks, in the order that `graphmerge.statistics.vectors` defines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from graphmerge.kernels.lanes import folded
from graphmerge.kernels.registry import (
    ReducedTile,
    Tile,
    register_kernel,
    register_update,
)
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.vectors import VECTOR_CHUNK, VECTOR_LANES, ColumnGram, CombineVectors, RowGram
from graphmerge.statistics.sums import pairs
from graphmerge.statistics.vectors import partial_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.statistics import Partial

Array: TypeAlias = "np.ndarray[Any, Any]"


@register_update(RowGram)
@np.errstate(invalid="ignore", over="ignore")
def row_gram(op: RowGram, tile: ReducedTile) -> Partial:
    """Inner products of the pieces of rows in each block."""
    partial = partial_of(op, len(tile.inputs), len(tile.inputs[0]))
    for number, (start, products) in enumerate(_products(tile)):
        count = min(BLOCK_ELEMENTS, len(tile.inputs[0]) - start)
        pieces = _Pieces(tile.start + start, count, op.row)
        for pair, product in enumerate(products):
            pieces.add_to(partial[number, pair], product)
    return partial


@register_update(ColumnGram)
@np.errstate(invalid="ignore", over="ignore")
def column_gram(op: ColumnGram, tile: ReducedTile) -> Partial:
    """Inner products of the columns in each block; a vector of 16 elements to as many slots."""
    partial = partial_of(op, len(tile.inputs), len(tile.inputs[0]))
    place = np.arange(min(BLOCK_ELEMENTS, len(tile.inputs[0])))
    within = place % VECTOR_LANES
    slots = (place - within) % op.columns + within
    for number, (_, products) in enumerate(_products(tile)):
        for pair, product in enumerate(products):
            np.add.at(partial[number, pair], slots[: len(product)], product)
    return partial


def _products(tile: ReducedTile) -> Iterator[tuple[int, Iterator[Array]]]:
    """Where each block of the tile begins, and the products of every pair in it."""
    *wide, product = (buffer.cpu().numpy() for buffer in tile.scratch)
    for target, x in zip(wide, tile.inputs, strict=True):
        np.copyto(target, x.cpu().numpy())
    for start in range(0, len(product), BLOCK_ELEMENTS):
        block = slice(start, start + BLOCK_ELEMENTS)
        yield (
            start,
            (
                np.multiply(wide[i][block], wide[j][block], out=product[block])
                for i, j in pairs(len(wide))
            ),
        )


class _Pieces:
    """The pieces of rows in one block: what of a row lies within 1024 elements."""

    def __init__(self, start: int, count: int, row: int) -> None:
        rows = np.arange(-start % row, count, row)
        self._starts = np.unique(np.concatenate([np.arange(0, count, VECTOR_CHUNK), rows]))
        lengths = np.diff(self._starts, append=count)
        width = -(-int(lengths.max()) // VECTOR_LANES) * VECTOR_LANES
        offsets = np.arange(width)
        self._outside = offsets >= lengths[:, None]
        self._places = self._starts[:, None] + offsets
        np.minimum(self._places, count - 1, out=self._places)
        self._slots = (start + self._starts) // row - start // row

    def add_to(self, sums: Array, product: Array) -> None:
        """Add the sum of every piece to its row's."""
        values = product[self._places]
        values[self._outside] = 0.0
        lanes = np.add.reduce(values.reshape(len(values), -1, VECTOR_LANES), axis=1)
        np.add.at(sums, self._slots, folded(lanes))


@register_kernel(CombineVectors)
def combine_vectors(op: CombineVectors, tile: Tile) -> None:
    """sum_i c_i x_i with the coefficients of each element's vector, a block at a time."""
    (product,), output, table = tile.scratch, tile.output, tile.statistics[0]
    for start in range(0, len(output), BLOCK_ELEMENTS):
        block = slice(start, start + BLOCK_ELEMENTS)
        place = np.arange(tile.start + start, tile.start + start + len(output[block]))
        which = np.remainder if op.is_columns else np.floor_divide
        which(place, op.row, out=place)
        for number, x in enumerate(tile.inputs):
            numbers = torch.from_numpy(table[number].take(place)).to(x.device, x.dtype)
            torch.mul(x[block], numbers, out=(product if number else output)[block])
            if number:
                output[block].add_(product[block])
