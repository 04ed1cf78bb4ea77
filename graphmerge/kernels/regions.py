"""Kernels of entries by how many models have changed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from graphmerge.kernels.block_sums import block_sums
from graphmerge.kernels.registry import ReducedTile, Tile, register_kernel, register_update
from graphmerge.ops.regions import ActiveCounts, RegionMean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from graphmerge.statistics import Partial


def _active(
    inputs: Sequence[torch.Tensor], epsilon: float, part: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Every input and where it is active; `part` is written to."""
    least = torch.tensor(epsilon, dtype=part.dtype, device=part.device)
    for x in inputs:
        yield x, torch.abs(x, out=part) > least


@register_kernel(RegionMean)
def region_mean(op: RegionMean, tile: Tile) -> None:
    """The sum of the active entries over their number; a lone one times its model's factor."""
    count, total, part, scaled = (buffer.zero_() for buffer in tile.scratch)
    factors = map(float, tile.statistics[0]) if op.scaled else (1.0 for _ in tile.inputs)
    active = _active(tile.inputs, op.epsilon, part)
    for (x, is_active), factor in zip(active, factors, strict=True):
        count.add_(part.copy_(is_active))  # added as a mask, torch would convert it elsewhere
        part.copy_(x).masked_fill_(is_active.logical_not_(), 0.0)
        total.add_(part)
        scaled.add_(part.mul_(factor))
    total.div_(torch.clamp(count, min=1.0, out=part))
    torch.where(count > 1.0, total, scaled, out=tile.output)


@register_update(ActiveCounts)
def active_counts(op: ActiveCounts, tile: ReducedTile) -> Partial:
    """Shared and unique entries of every delta, in each block."""
    count, part, summed = tile.scratch
    count.zero_()
    for _, is_active in _active(tile.inputs, op.epsilon, part):
        count.add_(part.copy_(is_active))  # added as a mask, torch would convert it elsewhere
    columns = []
    for _, is_active in _active(tile.inputs, op.epsilon, part):
        columns += [
            block_sums(summed.copy_(where.logical_and_(is_active)))
            for where in (count > 1.0, count == 1.0)
        ]
    return np.stack(columns, axis=1)
