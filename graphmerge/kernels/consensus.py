"""Kernel of sign consensus, in vectorised float arithmetic.

torch's boolean comparisons and selections cost 1 to 5 ns per element on a CPU, its float arithmetic
0.1 to 0.3, so agreement is expressed in floats throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from graphmerge.kernels.block_sums import block_sums
from graphmerge.kernels.registry import ReducedTile, Tile, register_kernel, register_update
from graphmerge.ops.consensus import KeepAgreeing, MeanOfNonzero, SignBalance, SignConsensus, Unify
from graphmerge.statistics.sums import draws_are_negative

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.statistics import Partial


@register_kernel(SignConsensus)
def sign_consensus(op: SignConsensus, tile: Tile) -> None:
    """Sum of the weighted entries of the elected sign, over the sum of their weights if asked."""
    elected = tile.scratch[0]
    _vote(tile.inputs, op.weights, elected)
    if op.has_balance and draws_are_negative(tile.statistics[0]):
        elected.neg_().add_(0.0).neg_()  # 0 becomes -0, which counts as -
    else:
        elected.add_(0.0)  # -0 becomes +0, which counts as +
    if op.normalize:
        _mean_of_agreeing(op, tile)
    else:
        _sum_of_agreeing(op, tile)


@register_update(SignBalance)
def sign_balance(op: SignBalance, tile: ReducedTile) -> Partial:
    """Positive less negative votes in each block of the tile."""
    vote, signs = tile.scratch
    _vote(tile.inputs, op.weights, vote)
    return block_sums(torch.nan_to_num_(signs.copy_(vote.sign_()), nan=0.0))


def _vote(deltas: Sequence[torch.Tensor], weights: tuple[float, ...], out: torch.Tensor) -> None:
    """sum_i w_i d_i, in order."""
    torch.mul(deltas[0], weights[0], out=out)
    for delta, weight in zip(deltas[1:], weights[1:], strict=True):
        out.add_(delta, alpha=weight)


@register_kernel(MeanOfNonzero)
def mean_of_nonzero(op: MeanOfNonzero, tile: Tile) -> None:
    """Sum over count, a count of zero as one."""
    count, part = tile.scratch
    total, count = tile.output.zero_(), count.zero_()
    for delta in tile.inputs:
        total.add_(delta)
        count.add_(torch.sign(delta, out=part).abs_())
    total.div_(count.clamp_(min=1))


@register_kernel(Unify)
def unify(op: Unify, tile: Tile) -> None:
    """The largest entry of the sign of the sum, with that sign."""
    sign, part = tile.scratch
    sign.copy_(tile.inputs[0])
    for delta in tile.inputs[1:]:
        sign.add_(delta)
    sign.sign_().sub_(0.5).sign_()  # zero counts as negative
    largest = tile.output.zero_()
    for delta in tile.inputs:
        torch.maximum(largest, torch.mul(delta, sign, out=part), out=largest)
    largest.mul_(sign).add_(0.0)  # no -0 where nothing has changed


@register_kernel(KeepAgreeing)
def keep_agreeing(op: KeepAgreeing, tile: Tile) -> None:
    """X times one or zero."""
    x, y = tile.inputs
    mask = tile.scratch[0].fill_(1.0)
    torch.copysign(mask, x, out=mask).mul_(y)
    torch.mul(x, mask.sign_().clamp_(min=0), out=tile.output)


def _sum_of_agreeing(op: SignConsensus, tile: Tile) -> None:
    """(S + s P) / 2, with S the sum of all contributions p_i, s its sign and P = sum |p_i|.

    P is what agrees plus what opposes, |S| the first minus the second.
    """
    total, part = tile.scratch
    output = tile.output.zero_()
    for delta, weight in zip(tile.inputs, op.weights, strict=True):
        output.add_(torch.abs(delta, out=part), alpha=abs(weight))
    torch.copysign(output, total, out=output)
    output.add_(total).mul_(0.5)


def _mean_of_agreeing(op: SignConsensus, tile: Tile) -> None:
    """Sum of the agreeing contributions over the sum of their weights.

    With s = +-1, max(x * s, 0) is |x| where the sign of x is s, and 0 elsewhere.
    """
    sign, part, divisor = tile.scratch
    torch.copysign(torch.ones((), dtype=sign.dtype, device=sign.device), sign, out=sign)
    total, divisor = tile.output.zero_(), divisor.zero_()
    for delta, weight in zip(tile.inputs, op.weights, strict=True):
        if weight == 0:
            continue
        torch.mul(delta, sign, out=part)
        agreeing = part.clamp_(min=0) if weight > 0 else part.clamp_(max=0)
        total.add_(agreeing, alpha=weight)
        divisor.add_(agreeing.sign_(), alpha=abs(weight))
    total.mul_(sign)
    _divide(total, divisor, part)


def _divide(total: torch.Tensor, divisor: torch.Tensor, scratch: torch.Tensor) -> None:
    """Total / divisor, a divisor of zero counting as one."""
    torch.sign(divisor, out=scratch)
    divisor.add_(scratch.abs_().neg_().add_(1))
    total.div_(divisor)
