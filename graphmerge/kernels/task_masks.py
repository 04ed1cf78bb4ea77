"""Kernels of masks of tasks, and of single numbers read from a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from graphmerge.kernels.block_sums import block_sums
from graphmerge.kernels.dtypes import TORCH_DTYPES
from graphmerge.kernels.registry import ReducedTile, Tile, register_kernel, register_update
from graphmerge.ops.task_masks import MASK_DTYPES, SIGNED, AgreementBits, KeepWhereBit, NumberAt

if TYPE_CHECKING:
    from graphmerge.statistics import Partial

_AS_SIGNED = {TORCH_DTYPES[dtype]: TORCH_DTYPES[SIGNED[dtype]] for dtype in MASK_DTYPES}
"""torch shifts and copies signed integers of every width, of the unsigned ones only bytes."""


@register_kernel(AgreementBits)
def agreement_bits(op: AgreementBits, tile: Tile) -> None:
    """A bit for each task vector that has the sign of the first input."""
    x, *deltas = tile.inputs
    above, below, agrees, other, found, bit = tile.scratch
    torch.gt(x, 0, out=above)
    torch.lt(x, 0, out=below)
    found.zero_()
    for place, y in enumerate(deltas):
        torch.gt(y, 0, out=agrees).logical_and_(above)
        torch.lt(y, 0, out=other).logical_and_(below)
        bit.copy_(agrees.logical_or_(other)).bitwise_left_shift_(place)
        found.bitwise_or_(bit)
    tile.output.view(_AS_SIGNED[tile.output.dtype]).copy_(found)


@register_kernel(KeepWhereBit)
def keep_where_bit(op: KeepWhereBit, tile: Tile) -> None:
    """X times one or zero, so that a dropped entry keeps its sign as in `KeepAgreeing`."""
    x, mask = tile.inputs
    bit, factor = tile.scratch
    torch.bitwise_right_shift(mask.view(bit.dtype), op.bit, out=bit).bitwise_and_(1)
    torch.mul(x, factor.copy_(bit), out=tile.output)


@register_update(NumberAt)
def number_at(op: NumberAt, tile: ReducedTile) -> Partial:
    """The entry in the sum of its block, zero in the sums of all others."""
    alone = tile.scratch[0].zero_()
    local = op.place - tile.start
    if 0 <= local < alone.numel():
        alone[local] = tile.inputs[0][local]
    return block_sums(alone)
