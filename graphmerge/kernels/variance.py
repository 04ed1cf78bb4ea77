"""Kernels of selecting the entries in which task vectors differ most, and of merging these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from graphmerge.kernels.magnitude import later_digit, magnitude_bits
from graphmerge.kernels.registry import ReducedTile, Tile, register_kernel, register_update
from graphmerge.ops.sparsify import DIGIT_BITS
from graphmerge.ops.variance import ZERO_BIN, EnergyConsensus, ShareDigits, Variance, Where
from graphmerge.spec import DType

if TYPE_CHECKING:
    from graphmerge.statistics import Partial

LEAST_DIVISOR = 1e-6
"""A sum of weights below this counts as this."""


@register_kernel(Variance)
def variance(op: Variance, tile: Tile) -> None:
    """sum_i (e_i - m)^2 with e_i = x_i - x_1 and m their mean."""
    mean, part = tile.scratch
    first, *others = tile.inputs
    mean.zero_()
    for x in others:
        mean.add_(torch.sub(x, first, out=part))
    mean.div_(len(tile.inputs))
    torch.mul(mean, mean, out=tile.output)
    for x in others:
        torch.sub(x, first, out=part).sub_(mean)
        tile.output.add_(part.mul_(part))


@register_update(ShareDigits)
def share_digits(op: ShareDigits, tile: ReducedTile) -> Partial:
    """The histogram of one digit; of the first one zeros are counted apart."""
    if op.digit:
        return later_digit(op, tile, tile.statistics[0])
    (x,) = tile.inputs
    bits, wide = tile.scratch
    magnitude_bits(x, out=bits)
    is_zero = bits == 0
    widths = DIGIT_BITS[DType.F64 if x.dtype is torch.float64 else DType.F32]
    wide.copy_(bits.bitwise_right_shift_(sum(widths[1:]))).masked_fill_(is_zero, ZERO_BIN)
    counts: Partial = torch.bincount(wide, minlength=ZERO_BIN + 1).cpu().numpy()
    return counts


@register_kernel(Where)
def where(op: Where, tile: Tile) -> None:
    """X, or zero."""
    x, *others = tile.inputs
    found = others[0] != 0
    for other in others[1:]:
        found.logical_or_(other != 0)
    zeroed = found if op.others_are_zero else found.logical_not_()
    tile.output.copy_(x).masked_fill_(zeroed, 0.0)


@register_kernel(EnergyConsensus)
def energy_consensus(op: EnergyConsensus, tile: Tile) -> None:
    """Weighted mean of the agreeing entries: with s = +-1, max(x * s, 0) is |x| or zero."""
    sign, part, divisor = tile.scratch
    sign.copy_(tile.inputs[0])
    for x in tile.inputs[1:]:
        sign.add_(x)
    sign.add_(0.0)  # -0 becomes +0, which counts as +
    torch.copysign(torch.ones((), dtype=sign.dtype, device=sign.device), sign, out=sign)
    total, divisor = tile.output.zero_(), divisor.zero_()
    for x, weight in zip(tile.inputs, map(float, tile.statistics[0]), strict=True):
        torch.mul(x, sign, out=part).clamp_(min=0)
        total.add_(part, alpha=weight)
        divisor.add_(part.sign_(), alpha=weight)
    total.mul_(sign).div_(divisor.clamp_(min=LEAST_DIVISOR))
