"""Native code of elementwise rules for models with roles: the torch kernels, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.ops.pointwise import NearSwap, TrainDifference

if TYPE_CHECKING:
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode


def _near_swap(op: NearSwap, code: VectorCode) -> Value:
    builder, (base, other), (t, least) = code.builder, code.inputs, code.numbers
    one = code.constant(1.0)
    difference = builder.fsub(other, base)
    distance = code.absolute(difference)
    share = code.not_below_zero(builder.fdiv(t, code.at_least(least, distance)))
    share = code.choose(builder.fcmp_ordered(">", share, one), one, share)
    moved = builder.fadd(builder.fmul(share, difference), base)
    return code.choose(builder.fcmp_ordered("==", share, one), other, moved)


def _train_difference(op: TrainDifference, code: VectorCode) -> Value:
    builder, (a, b, c) = code.builder, code.inputs
    change = builder.fsub(b, c)
    far = code.absolute(builder.fsub(b, a))
    total = builder.fadd(code.absolute(change), far)
    is_zero = builder.fcmp_ordered("==", total, code.constant(0.0))
    divisor = code.choose(is_zero, code.constant(1.0), total)
    share = builder.fdiv(builder.fmul(far, code.numbers[0]), divisor)
    return builder.fadd(builder.fmul(change, share), a)


register_lowering(
    NearSwap, Lowering(_near_swap, arguments=lambda op, _: Arguments((op.t, op.least)))
)
register_lowering(
    TrainDifference, Lowering(_train_difference, arguments=lambda op, _: Arguments((op.factor,)))
)
