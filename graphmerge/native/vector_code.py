"""Vector code: what an op adds to the body of a loop over vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.frozen_classes import frozen
from graphmerge.native.loops import at
from graphmerge.native.types import (
    DOUBLE,
    ELEMENT_TYPES,
    INT64,
    VECTOR_ELEMENTS,
    any_set,
    bits_type,
    convert,
    intrinsic,
    splat,
    vector_type,
)
from graphmerge.ops.blocks import SUM_LANES
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from graphmerge.native.registry import Value


@frozen(eq=False)
class VectorCode:
    """The place of one instruction in the body of a loop."""

    builder: ir.IRBuilder
    """Emits into the loop's body."""
    inputs: Sequence[Value]
    """Vectors of the tensor inputs."""
    dtypes: Sequence[DType]
    """Dtypes of the tensor inputs."""
    index: Value
    """Where in the chunk the vector begins."""
    inside: Value
    """Which elements of the vector lie within the tensor."""
    numbers: Sequence[Value]
    """The instruction's numbers, each in every element of a vector of the first input's dtype."""
    words: Sequence[Value]
    """The instruction's integers."""
    lanes: Value
    """Lanes of the instruction's sums, float64, one column after the other."""
    mask_bytes: Value
    """The instruction's mask: a byte per element of the chunk, 0 or 1."""
    chunk_value: Value
    """What the instruction's chunk code has left, an integer, if the op asks for it."""
    memory: Value
    """Memory of an integer that lasts from chunk to chunk, zero before a tile's first."""
    spread: Sequence[Value]
    """The instruction's arrays of a number per element of the chunk."""
    add_count: Callable[[int, Value], None]
    """Adds the number of elements where a truth value is set to a column of the sums."""
    fail: Callable[[Value], None]
    """Reports the instruction as failed where a truth value is set."""

    @property
    def element(self) -> ir.Type:
        """Element type of the first input."""
        return ELEMENT_TYPES[self.dtypes[0]]

    def constant(self, value: float) -> Value:
        """A constant in every element."""
        return splat(value, self.element)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """A * b + c, rounded once."""
        return intrinsic(self.builder, "llvm.fma", [a, b, c])

    def absolute(self, a: Value) -> Value:
        """|a|."""
        return intrinsic(self.builder, "llvm.fabs", [a])

    def copysign(self, magnitude: Value, sign: Value) -> Value:
        """The magnitude with the sign bit of the other."""
        return intrinsic(self.builder, "llvm.copysign", [magnitude, sign])

    def at_least(self, least: Value, a: Value) -> Value:
        """The least where a is below it, else a, NaN included."""
        return self.choose(self.builder.fcmp_ordered("<", a, least), least, a)

    def not_below_zero(self, a: Value) -> Value:
        """0 where a < 0, else a, NaN included."""
        return self.at_least(self.constant(0.0), a)

    def choose(self, condition: Value, yes: Value, no: Value) -> Value:
        """One or the other, element by element."""
        return self.builder.select(condition, yes, no)

    def is_above_zero(self, a: Value) -> Value:
        """A > 0."""
        return self.builder.fcmp_ordered(">", a, self.constant(0.0))

    def bits(self, a: Value, dtype: DType) -> Value:
        """The bits of a vector as integers."""
        return self.builder.bitcast(a, vector_type(bits_type(dtype)))

    def magnitude_bits(self, a: Value) -> Value:
        """The bits of |a|, for the first input's dtype."""
        dtype = self.dtypes[0]
        all_but_sign = (1 << (dtype.bits - 1)) - 1
        return self.builder.and_(self.bits(a, dtype), splat(all_but_sign, bits_type(dtype)))

    def to_double(self, a: Value) -> Value:
        """A vector of the first input's dtype in float64."""
        return convert(self.builder, a, self.dtypes[0], DType.F64)

    def only_inside(self, value: Value) -> Value:
        """Float64 values, zero for the elements outside the tensor."""
        return self.builder.select(self.inside, value, splat(0.0, DOUBLE))

    def accumulate(self, column: int, value: Value) -> None:
        """Add float64 values to lanes.

        The last chunk of a tensor is padded with zeros, which must add zero: see `Fusion`.
        """
        lane = self.builder.and_(self.index, ir.Constant(INT64, SUM_LANES - 1))
        start = self.builder.add(lane, ir.Constant(INT64, column * SUM_LANES))
        place = at(self.builder, self.lanes, start, DOUBLE)
        held = self.builder.load(place, align=64, typ=vector_type(DOUBLE))
        self.builder.store(self.builder.fadd(held, value), place, align=64)

    def mask(self) -> Value:
        """The instruction's mask as numbers, 1 or 0, of the first input's dtype."""
        place = at(self.builder, self.mask_bytes, self.index)
        stored = self.builder.load(place, align=VECTOR_ELEMENTS, typ=vector_type(ir.IntType(8)))
        return self.builder.uitofp(stored, vector_type(self.element))

    def fail_if_any(self, condition: Value) -> None:
        """Report the instruction as failed if a truth value is set in any element."""
        self.fail(any_set(self.builder, condition))
