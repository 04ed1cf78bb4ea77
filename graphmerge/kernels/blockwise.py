"""Partial results over numerics blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.blocks import BLOCK_ELEMENTS

if TYPE_CHECKING:
    import torch

    from graphmerge.kernels.registry import Partial, Statistic


def block_sums(x: torch.Tensor) -> Partial:
    """The sum of every numerics block of an aligned float64 tile, the last block possibly short.

    A row of a matrix is summed in one order whatever the number of rows, so a block's sum does not
    depend on the tile that it comes in; a short block is summed by itself for the same reason.
    """
    whole = x.numel() // BLOCK_ELEMENTS * BLOCK_ELEMENTS
    sums = x[:whole].view(-1, BLOCK_ELEMENTS).sum(1).cpu().numpy()
    if whole == x.numel():
        return np.asarray(sums)
    return np.append(sums, float(x[whole:].sum()))


def store_blocks(state: Statistic, partial: Partial, start: int) -> None:
    """Put the partial results of a tile's blocks where they belong."""
    first = start // BLOCK_ELEMENTS
    state[first : first + len(partial)] = partial
