"""Native code of averages by the importance of each entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.ops.fisher import FisherAverage
from graphmerge.statistics.fisher import coefficients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic


def _fisher_average(op: FisherAverage, code: VectorCode) -> Value:
    """x_1 + sum_i a_i (x_i - x_1) / sum_i a_i, a_i = c_i max(F_i, floor)."""
    builder, count = code.builder, len(op.weights)
    models, fishers = code.inputs[:count], code.inputs[count:]
    floor, *factors = code.numbers
    total = merged = code.constant(0.0)
    for x, fisher, factor in zip(models, fishers, factors, strict=True):
        importance = builder.fmul(code.at_least(floor, fisher), factor)
        total = builder.fadd(total, importance)
        merged = builder.fadd(merged, builder.fmul(builder.fsub(x, models[0]), importance))
    return builder.fadd(builder.fdiv(merged, total), models[0])


def _arguments(op: FisherAverage, statistics: Sequence[Statistic]) -> Arguments:
    return Arguments((op.floor, *coefficients(op, statistics)))


register_lowering(FisherAverage, Lowering(_fisher_average, arguments=_arguments))
