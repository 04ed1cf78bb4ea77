"""Native code of entries that are chosen by all task vectors together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.ops.joint_masks import LargestOf, TallMaskSum

if TYPE_CHECKING:
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode


def _largest_of(op: LargestOf, code: VectorCode) -> Value:
    builder = code.builder
    most = least = code.inputs[0]
    for x in code.inputs[1:]:
        most = code.choose(builder.fcmp_ordered(">", x, most), x, most)
        least = code.choose(builder.fcmp_ordered("<", x, least), x, least)
    return code.choose(builder.fcmp_ordered(">=", most, builder.fneg(least)), most, least)


def _tall_mask_sum(op: TallMaskSum, code: VectorCode) -> Value:
    builder = code.builder
    *thresholds, least_masks = code.numbers
    total = code.inputs[0]
    for x in code.inputs[1:]:
        total = builder.fadd(total, x)
    one, zero = code.constant(1.0), code.constant(0.0)
    masks = zero
    for x, threshold in zip(code.inputs, thresholds, strict=True):
        rest = builder.fmul(code.absolute(builder.fsub(total, x)), threshold)
        has_a_say = builder.fcmp_ordered(">", code.absolute(x), rest)
        masks = builder.fadd(masks, code.choose(has_a_say, one, zero))
    return code.choose(builder.fcmp_ordered(">=", masks, least_masks), total, zero)


register_lowering(LargestOf, Lowering(_largest_of))
register_lowering(
    TallMaskSum,
    Lowering(_tall_mask_sum, arguments=lambda op, _: Arguments((*op.thresholds, op.least_masks))),
)
