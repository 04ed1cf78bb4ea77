"""Kernels of parameters that compete; exponentials by numpy, in float64."""

from __future__ import annotations

import numpy as np
import torch

from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops import CompetitionMean, CompetitionScore

LEAST_DIVISOR = 1e-12
"""A sum of shares below this counts as this."""


@register_kernel(CompetitionScore)
def competition_score(op: CompetitionScore, tile: Tile) -> None:
    """exp(n m^2) max(tanh(d_i sum_j d_j), 0)."""
    own, total, strength = tile.scratch
    own.copy_(tile.inputs[op.place])
    total.copy_(tile.inputs[0])
    for x in tile.inputs[1:]:
        total.add_(strength.copy_(x))  # torch would convert x in memory of its own
    total.mul_(own)
    low, high = (float(x) for x in tile.statistics[0][2 * op.place : 2 * op.place + 2])
    torch.abs(own, out=strength).clamp_(low, high).sub_(low)
    strength.div_(high - low if high > low else 1.0)
    strength.mul_(strength).mul_(len(tile.inputs))
    _apply(np.exp, strength)
    _apply(np.tanh, total)
    tile.output.copy_(total.clamp_(min=0).mul_(strength))


def _apply(function: np.ufunc, values: torch.Tensor) -> None:
    """Replace float64 values by a function of them."""
    array = values.cpu().numpy()
    function(array, out=array)
    if not values.is_cpu:
        values.copy_(torch.from_numpy(array))


@register_kernel(CompetitionMean)
def competition_mean(op: CompetitionMean, tile: Tile) -> None:
    """Weighted mean by how far scores are above their threshold."""
    count = len(tile.inputs) // 2
    bounds = [float(x) for x in tile.statistics[0]]
    shares, share, part = tile.scratch
    shares.zero_()
    tile.output.zero_()
    for i, (delta, score) in enumerate(zip(tile.inputs[:count], tile.inputs[count:], strict=True)):
        least, most = bounds[2 * i : 2 * i + 2]
        torch.clamp(score, min=least, out=share).sub_(least)
        share.div_(most - least if most > least else 1.0)
        shares.add_(share)
        tile.output.add_(torch.mul(delta, share, out=part))
    tile.output.div_(shares.clamp_(min=LEAST_DIVISOR))
