"""Kernel of averages by the importance of each entry."""

from __future__ import annotations

import torch

from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.fisher import FisherAverage
from graphmerge.statistics.fisher import coefficients


@register_kernel(FisherAverage)
def fisher_average(op: FisherAverage, tile: Tile) -> None:
    """x_1 + sum_i a_i (x_i - x_1) / sum_i a_i, a_i = c_i max(F_i, floor)."""
    count = len(op.weights)
    models, fishers = tile.inputs[:count], tile.inputs[count:]
    importance, total, difference = tile.scratch
    total.zero_()
    tile.output.zero_()
    for x, fisher, factor in zip(models, fishers, coefficients(op, tile.statistics), strict=True):
        torch.clamp(fisher, min=op.floor, out=importance).mul_(factor)
        total.add_(importance)
        tile.output.add_(torch.sub(x, models[0], out=difference).mul_(importance))
    tile.output.div_(total).add_(models[0])
