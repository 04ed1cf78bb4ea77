"""Kernels of sums over numerics blocks, in the order that `graphmerge.statistics.sums` defines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from graphmerge.kernels.lanes import folded
from graphmerge.kernels.registry import ReducedTile, register_update
from graphmerge.ops.blocks import BLOCK_ELEMENTS, SUM_LANES
from graphmerge.ops.rescale import AbsoluteSum
from graphmerge.ops.spherical import Gram
from graphmerge.statistics.quiet import QUIET
from graphmerge.statistics.sums import pairs

if TYPE_CHECKING:
    from graphmerge.statistics import Partial


@register_update(AbsoluteSum)
def absolute_sum(op: AbsoluteSum, tile: ReducedTile) -> Partial:
    """sum |x| of each block of the tile."""
    wide = tile.scratch[0].copy_(tile.inputs[0]).abs_()
    return block_sums(wide)


@register_update(Gram)
def gram(op: Gram, tile: ReducedTile) -> Partial:
    """Inner products of each block of the tile: a column for each of `pairs`."""
    *wide, product = tile.scratch
    for buffer, x in zip(wide, tile.inputs, strict=True):
        buffer.copy_(x)
    columns = [
        block_sums(torch.mul(wide[i], wide[j], out=product)) for i, j in pairs(len(tile.inputs))
    ]
    return np.stack(columns, axis=1)


def block_sums(x: torch.Tensor) -> Partial:
    """The float64 sum of each numerics block of a flat tensor; the last block may be short."""
    whole = x.numel() // BLOCK_ELEMENTS * BLOCK_ELEMENTS
    sums = [_row_sums(x[:whole].view(-1, BLOCK_ELEMENTS // SUM_LANES, SUM_LANES))] if whole else []
    if whole < x.numel():
        rest = x[whole:]
        rows = -(-rest.numel() // SUM_LANES)
        padded = torch.zeros(rows * SUM_LANES, dtype=x.dtype, device=x.device)
        padded[: rest.numel()] = rest
        sums.append(_row_sums(padded.view(1, rows, SUM_LANES)))
    partial: Partial = torch.cat(sums).cpu().numpy()
    return partial


def _row_sums(x: torch.Tensor) -> torch.Tensor:
    """Sums of shape (blocks) of values of shape (blocks, rows, lanes)."""
    return folded(_added_in_order(x))


@QUIET
def _added_in_order(x: torch.Tensor) -> torch.Tensor:
    """The rows added up one after the other, as numpy does along any axis but the last."""
    if x.is_cpu:
        return torch.from_numpy(np.add.reduce(x.numpy(), axis=1))
    lanes = x[:, 0].clone()
    for row in range(1, x.shape[1]):
        lanes += x[:, row]
    return lanes
