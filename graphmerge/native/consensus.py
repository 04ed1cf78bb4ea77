"""Native code of sign consensus: the arithmetic of the torch kernel, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.ops.consensus import KeepAgreeing, MeanOfNonzero, SignBalance, SignConsensus, Unify
from graphmerge.statistics.sums import draws_are_negative

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic


def _sign_consensus(op: SignConsensus, code: VectorCode) -> Value:
    """Sum of the weighted entries of the elected sign, over the sum of their weights if asked."""
    elected = _elected(op, code, _vote(code))
    if op.normalize:
        return _mean_of_agreeing(code, elected)
    return _sum_of_agreeing(code, elected)


def _weights(code: VectorCode) -> Sequence[Value]:
    """The numbers without the sign that draws have."""
    return code.numbers[: len(code.inputs)]


def _vote(code: VectorCode) -> Value:
    """sum_i w_i x_i, in order."""
    total = code.builder.fmul(code.inputs[0], code.numbers[0])
    for delta, weight in zip(code.inputs[1:], _weights(code)[1:], strict=True):
        total = code.fma(delta, weight, total)
    return total


def _elected(op: SignConsensus, code: VectorCode, total: Value) -> Value:
    """The vote with zeros of the sign that draws have: +, or what the last number says."""
    zero = code.constant(0.0)
    if not op.has_balance:
        return code.builder.fadd(total, zero)
    draw = code.numbers[-1]
    return code.builder.fmul(code.builder.fadd(code.builder.fmul(total, draw), zero), draw)


def _sum_of_agreeing(code: VectorCode, elected: Value) -> Value:
    """(S + s P) / 2, with S the sum of all contributions, s its sign and P that of their sizes."""
    sizes = code.constant(0.0)
    for delta, weight in zip(code.inputs, _weights(code), strict=True):
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
    for delta, weight in zip(code.inputs, _weights(code), strict=True):
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
    draw = (-1.0 if draws_are_negative(statistics[0]) else 1.0,) if op.has_balance else ()
    return Arguments((*op.weights, *draw))


def _sign_balance(op: SignBalance, code: VectorCode) -> None:
    """1, 0 or -1 for each vote, into the block's sum."""
    vote, zero = _vote(code), code.constant(0.0)
    above = code.choose(code.is_above_zero(vote), code.constant(1.0), zero)
    below = code.builder.fcmp_ordered("<", vote, zero)
    code.accumulate(0, code.to_double(code.choose(below, code.constant(-1.0), above)))


def _mean_of_nonzero(op: MeanOfNonzero, code: VectorCode) -> Value:
    """Sum over count, a count of zero as one."""
    one, zero = code.constant(1.0), code.constant(0.0)
    total = count = zero
    for delta in code.inputs:
        total = code.builder.fadd(total, delta)
        counts = code.builder.fcmp_unordered("!=", delta, zero)
        count = code.builder.fadd(count, code.choose(counts, one, zero))
    divisor = code.choose(code.is_above_zero(count), count, one)
    return code.builder.fdiv(total, divisor)


def _unify(op: Unify, code: VectorCode) -> Value:
    """The largest entry of the sign of the sum, with that sign; NaN where the sum is."""
    zero = code.constant(0.0)
    total = code.inputs[0]
    for delta in code.inputs[1:]:
        total = code.builder.fadd(total, delta)
    is_number = code.builder.fcmp_ordered("<=", total, zero)
    not_above = code.choose(is_number, code.constant(-1.0), total)
    sign = code.choose(code.is_above_zero(total), code.constant(1.0), not_above)
    largest = zero
    for delta in code.inputs:
        part = code.builder.fmul(delta, sign)
        largest = code.choose(code.builder.fcmp_ordered(">", part, largest), part, largest)
    return code.builder.fadd(code.builder.fmul(largest, sign), zero)


def _keep_agreeing(op: KeepAgreeing, code: VectorCode) -> Value:
    """X times one or zero."""
    x, y = code.inputs
    one, zero = code.constant(1.0), code.constant(0.0)
    agrees = code.is_above_zero(code.builder.fmul(code.copysign(one, x), y))
    return code.builder.fmul(x, code.choose(agrees, one, zero))


register_lowering(SignConsensus, Lowering(_sign_consensus, arguments=_arguments))
register_lowering(
    SignBalance, Lowering(_sign_balance, arguments=lambda op, _: Arguments(op.weights))
)
register_lowering(MeanOfNonzero, Lowering(_mean_of_nonzero))
register_lowering(Unify, Lowering(_unify))
register_lowering(KeepAgreeing, Lowering(_keep_agreeing))
