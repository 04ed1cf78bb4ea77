"""Native code of masks of tasks, and of single numbers read from a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import (
    DOUBLE,
    ELEMENT_TYPES,
    lane_numbers,
    splat,
    spread,
)
from graphmerge.ops.task_masks import AgreementBits, KeepWhereBit, NumberAt, mask_dtype

if TYPE_CHECKING:
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode


def _agreement_bits(op: AgreementBits, code: VectorCode) -> Value:
    """A bit for each task vector that has the sign of the first input."""
    builder, zero = code.builder, code.constant(0.0)
    x, *deltas = code.inputs
    integer = ELEMENT_TYPES[mask_dtype(len(deltas))]
    above, below = code.is_above_zero(x), builder.fcmp_ordered("<", x, zero)
    found = splat(0, integer)
    for place, y in enumerate(deltas):
        both_above = builder.and_(above, code.is_above_zero(y))
        both_below = builder.and_(below, builder.fcmp_ordered("<", y, zero))
        agrees = builder.or_(both_above, both_below)
        bit = code.choose(agrees, splat(1 << place, integer), splat(0, integer))
        found = builder.or_(found, bit)
    return found


def _keep_where_bit(op: KeepWhereBit, code: VectorCode) -> Value:
    """X times one or zero."""
    x, mask = code.inputs
    integer = ELEMENT_TYPES[code.dtypes[1]]
    bit = code.builder.and_(mask, splat(1 << op.bit, integer))
    is_set = code.builder.icmp_unsigned("!=", bit, splat(0, integer))
    return code.builder.fmul(x, code.choose(is_set, code.constant(1.0), code.constant(0.0)))


def _number_at(op: NumberAt, code: VectorCode) -> None:
    """The entry, and zero for all others; it lies in the first chunk of the tensor."""
    builder = code.builder
    place = builder.add(spread(builder, code.index), lane_numbers())
    is_it = builder.icmp_unsigned("==", place, spread(builder, code.words[0]))
    code.accumulate(0, code.choose(is_it, code.to_double(code.inputs[0]), splat(0.0, DOUBLE)))


register_lowering(AgreementBits, Lowering(_agreement_bits))
register_lowering(KeepWhereBit, Lowering(_keep_where_bit))
register_lowering(
    NumberAt, Lowering(_number_at, arguments=lambda op, _: Arguments(words=(op.place,)))
)
