"""Kernels of elementwise rules for models with roles."""

from __future__ import annotations

import torch

from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.pointwise import NearSwap, TrainDifference


@register_kernel(NearSwap)
def near_swap(op: NearSwap, tile: Tile) -> None:
    """The base, moved by the share w of the way to the other model; all the way exactly."""
    base, other = tile.inputs
    difference, share = tile.scratch[0], tile.output
    torch.sub(other, base, out=difference)
    torch.abs(difference, out=share).clamp_(min=op.least)
    torch.div(torch.full_like(share[:1], op.t), share, out=share).clamp_(0, 1)
    swapped = share == 1
    share.mul_(difference).add_(base)
    torch.where(swapped, other, share, out=share)


@register_kernel(TrainDifference)
def train_difference(op: TrainDifference, tile: Tile) -> None:
    """a + (b - c) m."""
    a, b, c = tile.inputs
    far, near = tile.scratch
    torch.sub(b, a, out=far).abs_()
    torch.sub(b, c, out=near).abs_().add_(far)
    far.mul_(op.factor)
    near.masked_fill_(near == 0, 1.0)  # 0 / 0 counts as 0
    torch.sub(b, c, out=tile.output)
    tile.output.mul_(far.div_(near)).add_(a)
