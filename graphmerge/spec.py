"""What is known of a tensor before any of it is read: its shape and its dtype."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

from attrs import field

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST = float.fromhex("0x1.fffffep+127")
"""The largest finite number of float32, in which arithmetic is done: more would be infinity."""


class DType(Enum):
    """Every dtype of the safetensors format; the value is its name in a header."""

    BOOL = "BOOL"
    U8 = "U8"
    I8 = "I8"
    F4 = "F4"
    F6_E2M3 = "F6_E2M3"
    F6_E3M2 = "F6_E3M2"
    F8_E5M2 = "F8_E5M2"
    F8_E4M3 = "F8_E4M3"
    F8_E5M2FNUZ = "F8_E5M2FNUZ"
    F8_E4M3FNUZ = "F8_E4M3FNUZ"
    F8_E8M0 = "F8_E8M0"
    I16 = "I16"
    U16 = "U16"
    F16 = "F16"
    BF16 = "BF16"
    I32 = "I32"
    U32 = "U32"
    F32 = "F32"
    C64 = "C64"
    F64 = "F64"
    I64 = "I64"
    U64 = "U64"

    __hash__ = object.__hash__  # that of enums is slow, and dtypes are parts of many keys

    @property
    def bits(self) -> int:
        """Size of one element in bits (the format has dtypes below a byte)."""
        return _BITS[self]

    @property
    def is_mergeable_float(self) -> bool:
        """Whether arithmetic on weights of this dtype makes sense as it is."""
        return self in _MERGEABLE

    @property
    def is_integer(self) -> bool:
        """Whether this is an integer or boolean dtype."""
        return self in _INTEGER

    @property
    def arithmetic(self) -> DType:
        """The dtype in which numbers of this one are computed."""
        return DType.F64 if self is DType.F64 else DType.F32

    @property
    def torch_name(self) -> str:
        """Name in recipes and config.json: `bfloat16`. Raises KeyError where torch has none."""
        return _TORCH_NAMES[self]


_BITS = {
    dtype: bits
    for bits, names in {
        4: "F4",
        6: "F6_E2M3 F6_E3M2",
        8: "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E5M2FNUZ F8_E4M3FNUZ F8_E8M0",
        16: "I16 U16 F16 BF16",
        32: "I32 U32 F32",
        64: "C64 F64 I64 U64",
    }.items()
    for dtype in map(DType, names.split())
}
_MERGEABLE = frozenset({DType.F16, DType.BF16, DType.F32, DType.F64})
_INTEGER = frozenset(
    {
        DType.BOOL,
        DType.U8,
        DType.I8,
        DType.I16,
        DType.U16,
        DType.I32,
        DType.U32,
        DType.I64,
        DType.U64,
    }
)
_TORCH_NAMES = {
    DType.BOOL: "bool",
    DType.U8: "uint8",
    DType.I8: "int8",
    DType.I16: "int16",
    DType.U16: "uint16",
    DType.I32: "int32",
    DType.U32: "uint32",
    DType.I64: "int64",
    DType.U64: "uint64",
    DType.F16: "float16",
    DType.BF16: "bfloat16",
    DType.F32: "float32",
    DType.F64: "float64",
    DType.C64: "complex64",
    DType.F8_E4M3: "float8_e4m3fn",
    DType.F8_E5M2: "float8_e5m2",
    DType.F8_E4M3FNUZ: "float8_e4m3fnuz",
    DType.F8_E5M2FNUZ: "float8_e5m2fnuz",
    DType.F8_E8M0: "float8_e8m0fnu",
}
BY_TORCH_NAME = {name: dtype for dtype, name in _TORCH_NAMES.items()}
"""Dtypes by what torch calls them."""


def _axes(shape: Iterable[int]) -> tuple[int, ...]:
    return tuple(shape)


@frozen(cache_hash=True)
class TensorSpec:
    """Shape and dtype of a tensor."""

    shape: tuple[int, ...] = field(converter=_axes)
    """Lengths of the axes; empty for a 0-d tensor."""
    dtype: DType
    """Type of the elements."""

    numel: int = field(init=False, eq=False, repr=False)
    """Number of elements; 1 for a 0-d tensor."""
    nbytes: int = field(init=False, eq=False, repr=False)
    """Size in bytes; a partial last byte counts whole."""

    @numel.default
    def _count(self) -> int:
        return math.prod(self.shape)

    @nbytes.default
    def _size(self) -> int:
        return (self.numel * self.dtype.bits + 7) // 8

    def with_dtype(self, dtype: DType) -> TensorSpec:
        """The same shape with another dtype."""
        return TensorSpec(self.shape, dtype)

    def __str__(self) -> str:
        return f"{self.dtype.value}[{', '.join(map(str, self.shape))}]"
