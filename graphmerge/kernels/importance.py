"""Kernels of the importance of changes by how far they move a row's softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from graphmerge.kernels.divergences import divergences, single_divergences
from graphmerge.kernels.registry import ReducedTile, Tile, register_kernel, register_update
from graphmerge.ops.importance import Importance, KeepImportant, RowDivergence

if TYPE_CHECKING:
    from graphmerge.statistics import Partial


@register_update(RowDivergence)
def row_divergence(op: RowDivergence, tile: ReducedTile) -> Partial:
    """The number of each row of the tile, and its divergence."""
    first, second = (x.cpu().numpy().reshape(tile.shape) for x in tile.inputs)
    rows, row = tile.shape
    numbers = tile.start // row + np.arange(rows)
    of_rows = single_divergences if first.dtype == np.float32 else divergences
    return np.stack([numbers, of_rows(first, second)], axis=1)


@register_kernel(Importance)
def importance(op: Importance, tile: Tile) -> None:
    """|x| times the factor of its row, rounded to the dtype first."""
    x = tile.inputs[0]
    first = tile.start // op.row
    last = -(-(tile.start + len(x)) // op.row)
    offset = tile.start - first * op.row
    factors = np.repeat(tile.statistics[0][first:last], op.row)[offset : offset + len(x)]
    torch.abs(x, out=tile.output).mul_(tile.scratch[0].copy_(torch.from_numpy(factors)))


@register_kernel(KeepImportant)
def keep_important(op: KeepImportant, tile: Tile) -> None:
    """x where it is important enough, else 0."""
    x, size = tile.inputs
    least = torch.tensor(float(tile.statistics[0]), dtype=size.dtype, device=size.device)
    tile.output.copy_(x).masked_fill_((size >= least).logical_not_(), 0.0)
