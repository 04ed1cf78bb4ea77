"""Partial results over numerics blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from graphmerge.kernels.registry import Partial, Statistic
from graphmerge.ops.blocks import BLOCK_ELEMENTS


def split_blocks(tiles: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, ...]]:
    """The numerics blocks of aligned tiles, each block by itself.

    A block is always reduced alone and in one shape, so its partial result cannot depend on the tile
    that it came in (torch picks other summation orders for other shapes).
    """
    for start in range(0, tiles[0].numel(), BLOCK_ELEMENTS):
        yield tuple(tile[start : start + BLOCK_ELEMENTS] for tile in tiles)


def store_blocks(state: Statistic, partial: Partial, start: int) -> None:
    """Put the partial results of a tile's blocks where they belong."""
    first = start // BLOCK_ELEMENTS
    state[first : first + len(partial)] = partial
