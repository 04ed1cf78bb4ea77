"""Kernels of parameters that compete; exponentials by numpy, in float64."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import numpy as np
import torch

from graphmerge.kernels.elementary import exp, exp_less_one
from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.competition import CompetitionMean, CompetitionScore
from graphmerge.statistics.competition import LEAST_DIVISOR, shares_of, strength_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from graphmerge.kernels.elementary import Doubles


@register_kernel(CompetitionScore)
def competition_score(op: CompetitionScore, tile: Tile) -> None:
    """-E / ((2 + E) exp(-n m^2)), E = exp(-2 max(d_i sum_j d_j, 0)) - 1."""
    own, *deltas = tile.inputs
    lost, strength, *buffers = tile.scratch
    lost.copy_(deltas[0])
    for x in deltas[1:]:
        lost.add_(strength.copy_(x))  # torch would convert x in memory of its own
    strength.copy_(own)
    lost.mul_(strength).clamp_(min=0).mul_(-2.0)
    low, high, scale = strength_of(op, tile.statistics[0])
    strength.abs_().clamp_(low, None if isnan(high) else high).sub_(low).mul_(scale)
    strength.mul_(strength).mul_(-float(len(deltas)))
    _apply(exp, strength, buffers)
    _apply(exp_less_one, lost, buffers)
    strength.mul_(torch.add(lost, 2.0, out=buffers[0]))
    tile.output.copy_(lost.neg_().div_(strength))


def _apply(
    function: Callable[[Doubles, Sequence[Doubles]], None],
    values: torch.Tensor,
    buffers: Sequence[torch.Tensor],
) -> None:
    """Replace float64 values by a function of them."""
    if values.is_cpu:
        function(values.numpy(), [buffer.numpy() for buffer in buffers])
        return
    array = values.cpu().numpy()
    function(array, [np.empty_like(array) for _ in buffers])
    values.copy_(torch.from_numpy(array))


@register_kernel(CompetitionMean)
def competition_mean(op: CompetitionMean, tile: Tile) -> None:
    """Weighted mean by how far scores are above their threshold."""
    count = len(tile.inputs) // 2
    pairs = zip(tile.inputs[:count], tile.inputs[count:], strict=True)
    shares, share, part = tile.scratch
    shares.zero_()
    tile.output.zero_()
    for (delta, score), (least, size) in zip(pairs, shares_of(tile.statistics[0]), strict=True):
        torch.clamp(score, min=least, out=share).sub_(least).div_(size)
        shares.add_(share)
        tile.output.add_(torch.mul(delta, share, out=part))
    tile.output.div_(shares.clamp_(min=LEAST_DIVISOR))
