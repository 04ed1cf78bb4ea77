"""Kernel of sign consensus, in vectorised float arithmetic.

torch's boolean comparisons and selections cost 1 to 5 ns per element on a CPU, its float arithmetic
0.1 to 0.3, so agreement is expressed by clamping: with s = +-1, max(x * s, 0) is |x| where the sign of x
is s and 0 elsewhere.
"""

from __future__ import annotations

import torch

from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops import SignConsensus


@register_kernel(SignConsensus)
def sign_consensus(op: SignConsensus, tile: Tile) -> None:
    """Sum of the weighted entries of the elected sign, over the sum of their weights if asked."""
    sign, part = tile.scratch[:2]
    torch.mul(tile.inputs[0], op.weights[0], out=sign)
    for delta, weight in zip(tile.inputs[1:], op.weights[1:], strict=True):
        sign.add_(delta, alpha=weight)
    sign.add_(0.0)  # -0 becomes +0, which counts as +
    torch.copysign(torch.ones((), dtype=sign.dtype, device=sign.device), sign, out=sign)

    total = tile.output.zero_()
    divisor = tile.scratch[2].zero_() if op.normalize else None
    for delta, weight in zip(tile.inputs, op.weights, strict=True):
        if weight == 0:
            continue
        torch.mul(delta, sign, out=part)
        agreeing = part.clamp_(min=0) if weight > 0 else part.clamp_(max=0)
        total.add_(agreeing, alpha=weight)
        if divisor is not None:
            divisor.add_(agreeing.sign_(), alpha=abs(weight))
    total.mul_(sign)
    if divisor is not None:
        _divide(total, divisor, part)


def _divide(total: torch.Tensor, divisor: torch.Tensor, scratch: torch.Tensor) -> None:
    """total / divisor, a divisor of zero counting as one."""
    torch.sign(divisor, out=scratch)
    divisor.add_(scratch.abs_().neg_().add_(1))
    total.div_(divisor)
