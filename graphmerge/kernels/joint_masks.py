"""Kernels of entries that are chosen by all task vectors together."""

from __future__ import annotations

import torch

from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.joint_masks import LargestOf, TallMaskSum


@register_kernel(LargestOf)
def largest_of(op: LargestOf, tile: Tile) -> None:
    """The most p or the least q of each entry: p where p >= -q."""
    most, least, chosen = tile.scratch
    most.copy_(tile.inputs[0])
    least.copy_(tile.inputs[0])
    for x in tile.inputs[1:]:
        most.copy_(torch.where(x > most, x, most, out=chosen))
        least.copy_(torch.where(x < least, x, least, out=chosen))
    torch.where(most >= torch.neg(least, out=chosen), most, least, out=tile.output)


@register_kernel(TallMaskSum)
def tall_mask_sum(op: TallMaskSum, tile: Tile) -> None:
    """The sum, where |x_i| > threshold_i |sum - x_i| for enough of the inputs."""
    total, masks, rest, size = tile.scratch
    total.copy_(tile.inputs[0])
    for x in tile.inputs[1:]:
        total.add_(x)
    masks.zero_()
    for x, threshold in zip(tile.inputs, op.thresholds, strict=True):
        torch.sub(total, x, out=rest).abs_().mul_(threshold)
        masks.add_(size.copy_(torch.abs(x, out=size) > rest))
    torch.where(masks >= op.least_masks, total, rest.zero_(), out=tile.output)
