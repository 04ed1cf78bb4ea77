"""Kernel of sign consensus, in vectorised float arithmetic.

torch's boolean comparisons and selections cost 1 to 5 ns per element on a CPU, its float arithmetic
0.1 to 0.3, so agreement is expressed in floats throughout.
"""

from __future__ import annotations

import torch

from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops import SignConsensus


@register_kernel(SignConsensus)
def sign_consensus(op: SignConsensus, tile: Tile) -> None:
    """Sum of the weighted entries of the elected sign, over the sum of their weights if asked."""
    elected = tile.scratch[0]
    torch.mul(tile.inputs[0], op.weights[0], out=elected)
    for delta, weight in zip(tile.inputs[1:], op.weights[1:], strict=True):
        elected.add_(delta, alpha=weight)
    elected.add_(0.0)  # -0 becomes +0, which counts as +
    if op.normalize:
        _mean_of_agreeing(op, tile)
    else:
        _sum_of_agreeing(op, tile)


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
