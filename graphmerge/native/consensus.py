"""Native code of sign consensus: the arithmetic of the torch kernel, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.ops import SignConsensus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic


def _sign_consensus(op: SignConsensus, code: VectorCode) -> Value:
    """Sum of the weighted entries of the elected sign, over the sum of their weights if asked."""
    weights = code.numbers
    total = code.builder.fmul(code.inputs[0], weights[0])
    for delta, weight in zip(code.inputs[1:], weights[1:], strict=True):
        total = code.fma(delta, weight, total)
    elected = code.builder.fadd(total, code.constant(0.0))  # -0 becomes +0, which counts as +
    if op.normalize:
        return _mean_of_agreeing(code, elected)
    return _sum_of_agreeing(code, elected)


def _sum_of_agreeing(code: VectorCode, elected: Value) -> Value:
    """(S + s P) / 2, with S the sum of all contributions, s its sign and P that of their sizes."""
    sizes = code.constant(0.0)
    for delta, weight in zip(code.inputs, code.numbers, strict=True):
        sizes = code.fma(code.absolute(delta), code.absolute(weight), sizes)
    both = code.builder.fadd(code.copysign(sizes, elected), elected)
    return code.builder.fmul(both, code.constant(0.5))


def _mean_of_agreeing(code: VectorCode, elected: Value) -> Value:
    """Sum of the agreeing contributions over the sum of their weights.

    A weight of zero takes no part; its contribution and its share of the divisor are zero.
    """
    one, zero = code.constant(1.0), code.constant(0.0)
    sign = code.copysign(one, elected)
    total = divisor = zero
    for delta, weight in zip(code.inputs, code.numbers, strict=True):
        direction = code.copysign(one, weight)
        agreeing = code.not_below_zero(code.builder.fmul(code.builder.fmul(delta, sign), direction))
        counts = code.choose(code.is_above_zero(agreeing), weight, zero)
        taken = code.choose(
            code.builder.fcmp_unordered("!=", weight, zero),
            code.fma(agreeing, code.absolute(weight), total),
            total,
        )
        total, divisor = taken, code.builder.fadd(divisor, counts)
    is_zero = code.builder.fcmp_ordered("==", divisor, zero)
    return code.builder.fdiv(code.builder.fmul(total, sign), code.choose(is_zero, one, divisor))


def _arguments(op: SignConsensus, statistics: Sequence[Statistic]) -> Arguments:
    return Arguments(op.weights)


register_lowering(SignConsensus, Lowering(_sign_consensus, arguments=_arguments))
