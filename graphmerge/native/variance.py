"""Native code of selecting the entries in which task vectors differ most, and of merging these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.loops import integer, loop
from graphmerge.native.magnitude import count_digits, count_in, digits_so_far
from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.ops.sparsify import DIGIT_BITS
from graphmerge.ops.variance import ZERO_BIN, EnergyConsensus, ShareDigits, Variance, Where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.chunk_code import ChunkCode
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic

_LEAST_DIVISOR = 1e-6


def _variance(op: Variance, code: VectorCode) -> Value:
    """sum_i (e_i - m)^2 with e_i = x_i - x_1 and m their mean."""
    builder = code.builder
    first, *others = code.inputs
    shifted = [builder.fsub(x, first) for x in others]
    mean = code.constant(0.0)
    for x in shifted:
        mean = builder.fadd(mean, x)
    mean = builder.fdiv(mean, code.constant(float(len(code.inputs))))
    total = builder.fmul(mean, mean)
    for x in shifted:
        part = builder.fsub(x, mean)
        total = builder.fadd(total, builder.fmul(part, part))
    return total


def _share_digits(op: ShareDigits, code: ChunkCode) -> None:
    """Add the chunk to the histogram of a digit; of the first one zeros are counted apart."""
    if op.digit:
        count_digits(op, code)
        return
    below = sum(DIGIT_BITS[code.dtypes[0]][1:])
    builder = code.builder
    with loop(builder, code.count) as index:
        bits = code.magnitude(index)
        is_zero = builder.icmp_unsigned("==", bits, integer(0))
        digit = builder.lshr(bits, integer(below))
        count_in(code, builder.select(is_zero, integer(ZERO_BIN), digit))


def _where(op: Where, code: VectorCode) -> Value:
    """X, or zero."""
    builder, zero = code.builder, code.constant(0.0)
    x, *others = code.inputs
    found = builder.fcmp_unordered("!=", others[0], zero)
    for other in others[1:]:
        found = builder.or_(found, builder.fcmp_unordered("!=", other, zero))
    return code.choose(found, zero, x) if op.others_are_zero else code.choose(found, x, zero)


def _energy_consensus(op: EnergyConsensus, code: VectorCode) -> Value:
    """Weighted mean of the agreeing entries."""
    builder = code.builder
    *weights, least = code.numbers
    one, zero = code.constant(1.0), code.constant(0.0)
    elected = code.inputs[0]
    for x in code.inputs[1:]:
        elected = builder.fadd(elected, x)
    sign = code.copysign(one, builder.fadd(elected, zero))
    total = divisor = zero
    for x, weight in zip(code.inputs, weights, strict=True):
        agreeing = code.not_below_zero(builder.fmul(x, sign))
        counts = code.choose(code.is_above_zero(agreeing), weight, zero)
        total, divisor = code.fma(agreeing, weight, total), builder.fadd(divisor, counts)
    return builder.fdiv(builder.fmul(total, sign), code.at_least(least, divisor))


def _energies(op: EnergyConsensus, statistics: Sequence[Statistic]) -> Arguments:
    return Arguments((*map(float, statistics[0]), _LEAST_DIVISOR))


register_lowering(Variance, Lowering(_variance))
register_lowering(ShareDigits, Lowering(chunk=_share_digits, arguments=digits_so_far))
register_lowering(Where, Lowering(_where))
register_lowering(EnergyConsensus, Lowering(_energy_consensus, arguments=_energies))
