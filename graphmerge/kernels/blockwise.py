"""Partial results over numerics blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.ops.blocks import BLOCK_ELEMENTS

if TYPE_CHECKING:
    from graphmerge.kernels.registry import Partial, Statistic


def store_blocks(state: Statistic, partial: Partial, start: int) -> None:
    """Put the partial results of a tile's blocks where they belong."""
    first = start // BLOCK_ELEMENTS
    state[first : first + len(partial)] = partial
