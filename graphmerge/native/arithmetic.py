"""Native code of casts, differences, sums and scalings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import convert
from graphmerge.ops.arithmetic import AddDelta, Cast, Scale, TaskVector, WeightedSum
from graphmerge.ops.rescale import Rescale
from graphmerge.ops.spherical import Combine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic


def _cast(op: Cast, code: VectorCode) -> Value:
    return convert(code.builder, code.inputs[0], code.dtypes[0], op.dtype)


def _task_vector(op: TaskVector, code: VectorCode) -> Value:
    return code.builder.fsub(*code.inputs)


def _sum(code: VectorCode, weights: Sequence[Value]) -> Value:
    """sum_i w_i x_i, in order."""
    total = code.builder.fmul(code.inputs[0], weights[0])
    for x, weight in zip(code.inputs[1:], weights[1:], strict=True):
        total = code.fma(x, weight, total)
    return total


def _weighted_sum(op: WeightedSum, code: VectorCode) -> Value:
    *weights, divisor = code.numbers
    return code.builder.fdiv(_sum(code, weights), divisor)


def _combine(op: Combine, code: VectorCode) -> Value:
    return _sum(code, code.numbers)


def _scale(op: Scale | Rescale, code: VectorCode) -> Value:
    return code.builder.fmul(code.inputs[0], code.numbers[0])


def _add_delta(op: AddDelta, code: VectorCode) -> Value:
    base, delta = code.inputs
    return code.fma(delta, code.numbers[0], base)


def _weights(op: WeightedSum, statistics: Sequence[Statistic]) -> Arguments:
    return Arguments((*op.weights, op.divisor))


def _coefficients(op: Combine, statistics: Sequence[Statistic]) -> Arguments:
    return Arguments(tuple(map(float, statistics[0])))


register_lowering(Cast, Lowering(_cast))
register_lowering(TaskVector, Lowering(_task_vector))
register_lowering(WeightedSum, Lowering(_weighted_sum, arguments=_weights))
register_lowering(Combine, Lowering(_combine, arguments=_coefficients))
register_lowering(Scale, Lowering(_scale, arguments=lambda op, _: Arguments((op.factor,))))
register_lowering(
    Rescale, Lowering(_scale, arguments=lambda _, statistics: Arguments((float(statistics[0]),)))
)
register_lowering(AddDelta, Lowering(_add_delta, arguments=lambda op, _: Arguments((op.scale,))))
