"""What dtypes round: integers without room in them, such as positions in bfloat16, and weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.build.wording import they_are
from graphmerge.errors import some
from graphmerge.graph import postorder
from graphmerge.ops.arithmetic import Cast
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from graphmerge.build.models import ModelTensor
    from graphmerge.graph import Node

_EXACT_BITS = {DType.BF16: 8, DType.F16: 11, DType.F32: 24, DType.F64: 53}
"""Every integer of so many bits is a number of the dtype."""
_SIGNED = frozenset({DType.I8, DType.I16, DType.I32, DType.I64})


def rounded_integers(tensors: Mapping[str, ModelTensor]) -> Iterator[str]:
    """A warning for each dtype that integer tensors are cast to, and that may round them."""
    narrow = {
        pattern: _too_narrow(pattern.root)
        for pattern in dict.fromkeys(tensor.pattern for tensor in tensors.values())
    }
    names: dict[DType, list[str]] = {}
    for name, tensor in tensors.items():
        dtype = narrow[tensor.pattern]
        if dtype is not None:
            names.setdefault(dtype, []).append(name)
    for dtype, own in names.items():
        count = they_are(own, "integer tensor")
        yield (
            f"{count} cast to {dtype.torch_name}, which has every integer up to "
            f"{2 ** _EXACT_BITS[dtype]:,} only: {some(own)} (with out_dtype in place of dtype "
            "integers are copied)"
        )


def rounded_weights(tensors: Mapping[str, ModelTensor]) -> Iterator[str]:
    """A warning for each integer dtype that weights are saved in, as `out_dtype: int64` has it."""
    names: dict[DType, list[str]] = {}
    for name, tensor in tensors.items():
        if tensor.stored.is_integer and not tensor.pattern.root.spec.dtype.is_integer:
            names.setdefault(tensor.stored, []).append(name)
    for dtype, own in names.items():
        count = they_are(own, "tensor")
        yield (
            f"{count} rounded to integers by out_dtype {dtype.torch_name}: {some(own)} "
            "(choose a float dtype, or leave it out)"
        )


def _too_narrow(root: Node) -> DType | None:
    """The dtype to which integers of a larger range are cast; None if none are."""
    for node in postorder([root]):
        if isinstance(node.op, Cast):
            source, target = node.inputs[0].spec.dtype, node.op.dtype
            is_narrow = source.is_integer and _bits(source) > _EXACT_BITS.get(target, 64)
            if is_narrow:
                return target
    return None


def _bits(integer: DType) -> int:
    """Bits of the largest magnitude."""
    return 1 if integer is DType.BOOL else integer.bits - (integer in _SIGNED)
