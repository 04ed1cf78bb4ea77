"""Native code of entries by how many models have changed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import DOUBLE, vector_type
from graphmerge.ops.regions import ActiveCounts, RegionMean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic


def _active(code: VectorCode, epsilon: Value) -> tuple[list[Value], Value]:
    """Where each input is active, and how many are."""
    one, zero = code.constant(1.0), code.constant(0.0)
    active, count = [], zero
    for x in code.inputs:
        active.append(code.builder.fcmp_ordered(">", code.absolute(x), epsilon))
        count = code.builder.fadd(count, code.choose(active[-1], one, zero))
    return active, count


def _region_mean(op: RegionMean, code: VectorCode) -> Value:
    builder = code.builder
    epsilon, *factors = code.numbers
    one, zero = code.constant(1.0), code.constant(0.0)
    active, count = _active(code, epsilon)
    total = scaled = zero
    for number, x in enumerate(code.inputs):
        part = code.choose(active[number], x, zero)
        total = builder.fadd(total, part)
        scaled = builder.fadd(scaled, builder.fmul(part, factors[number]) if factors else part)
    several = builder.fcmp_ordered(">", count, one)
    return code.choose(several, builder.fdiv(total, code.choose(several, count, one)), scaled)


def _active_counts(op: ActiveCounts, code: VectorCode) -> None:
    builder = code.builder
    active, count = _active(code, code.numbers[0])
    one = code.constant(1.0)
    shared = builder.fcmp_ordered(">", count, one)
    alone = builder.fcmp_ordered("==", count, one)
    for number, is_active in enumerate(active):
        for offset, where in enumerate((shared, alone)):
            found = builder.uitofp(builder.and_(where, is_active), vector_type(DOUBLE))
            code.accumulate(2 * number + offset, found)


def _epsilon_and_factors(op: RegionMean, statistics: Sequence[Statistic]) -> Arguments:
    factors = map(float, statistics[0]) if op.scaled else ()
    return Arguments((op.epsilon, *factors))


register_lowering(RegionMean, Lowering(_region_mean, arguments=_epsilon_and_factors))
register_lowering(
    ActiveCounts, Lowering(_active_counts, arguments=lambda op, _: Arguments((op.epsilon,)))
)
