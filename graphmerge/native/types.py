"""Dtypes in LLVM, and conversions between vectors of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.native.registry import Value

VECTOR_ELEMENTS = 16
"""Elements of a vector; the compiler splits it to what the machine has."""

INT1, INT8, INT16, INT32, INT64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
FLOAT, DOUBLE, HALF = ir.FloatType(), ir.DoubleType(), ir.HalfType()
POINTER = ir.PointerType()

ELEMENT_TYPES: dict[DType, ir.Type] = {
    DType.BOOL: INT8,
    DType.U8: INT8,
    DType.I8: INT8,
    DType.I16: INT16,
    DType.U16: INT16,
    DType.I32: INT32,
    DType.U32: INT32,
    DType.I64: INT64,
    DType.U64: INT64,
    DType.BF16: INT16,
    DType.F16: HALF,
    DType.F32: FLOAT,
    DType.F64: DOUBLE,
}
"""Element types by dtype; bfloat16 is handled as its bits."""
SIGNED = (DType.I8, DType.I16, DType.I32, DType.I64)
EXPONENT_BITS = {
    DType.F16: 0x7C00,
    DType.BF16: 0x7F80,
    DType.F32: 0x7F800000,
    DType.F64: 0x7FF0000000000000,
}
"""Bits of the exponent: all set in NaN and infinity."""


def vector_type(element: ir.Type) -> ir.VectorType:
    """A vector of elements."""
    return ir.VectorType(element, VECTOR_ELEMENTS)


def bits_type(dtype: DType) -> ir.IntType:
    """An integer as wide as an element."""
    return ir.IntType(dtype.bits)


def splat(value: object, element: ir.Type) -> ir.Constant:
    """A constant in every element of a vector."""
    return ir.Constant(vector_type(element), [ir.Constant(element, value)] * VECTOR_ELEMENTS)


def spread(builder: ir.IRBuilder, scalar: Value) -> Value:
    """A scalar of the code in every element of a vector."""
    empty = ir.Constant(vector_type(scalar.type), ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(INT32, 0))
    zeros = ir.Constant(vector_type(INT32), [ir.Constant(INT32, 0)] * VECTOR_ELEMENTS)
    return builder.shuffle_vector(first, empty, zeros)


def spread_over(builder: ir.IRBuilder, scalar: Value, kind: ir.VectorType) -> Value:
    """A scalar in every element of a vector."""
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, scalar, INT32(0))
    return builder.shuffle_vector(first, empty, ir.VectorType(INT32, kind.count)(None))


def convert(builder: ir.IRBuilder, value: Value, source: DType, target: DType) -> Value:
    """A vector in another dtype, rounded once to nearest even.

    From integers to 16 bits by way of float32, as torch does it.
    """
    if source is target:
        return value
    if source.is_integer or source is DType.BOOL:
        first = target if target in (DType.F32, DType.F64) else DType.F32
        to = builder.sitofp if source in SIGNED else builder.uitofp
        return convert(builder, to(value, vector_type(ELEMENT_TYPES[first])), first, target)
    if source is DType.F64 and target is not DType.F32:
        return _narrowed(builder, _rounded_to_odd(builder, value), target)
    if source is DType.F64:
        return builder.fptrunc(value, vector_type(FLOAT))
    if target is DType.F64 and source is not DType.BF16:
        return builder.fpext(value, vector_type(DOUBLE))
    single = _as_single(builder, value, source)
    if target is DType.F64:
        return builder.fpext(single, vector_type(DOUBLE))
    return single if target is DType.F32 else _narrowed(builder, single, target)


def _as_single(builder: ir.IRBuilder, value: Value, source: DType) -> Value:
    if source is DType.F32:
        return value
    if source is DType.F16:
        return builder.fpext(value, vector_type(FLOAT))
    wide = builder.zext(value, vector_type(INT32))
    return builder.bitcast(builder.shl(wide, splat(16, INT32)), vector_type(FLOAT))


def _narrowed(builder: ir.IRBuilder, single: Value, target: DType) -> Value:
    """float32 to float16 or bfloat16."""
    if target is DType.F16:
        return builder.fptrunc(single, vector_type(HALF))
    bits = builder.bitcast(single, vector_type(INT32))
    odd = builder.and_(builder.lshr(bits, splat(16, INT32)), splat(1, INT32))
    rounded = builder.add(bits, builder.add(odd, splat(0x7FFF, INT32)))
    is_nan = builder.fcmp_unordered("uno", single, single)
    kept = builder.select(is_nan, splat(0x7FC00000, INT32), rounded)
    return builder.trunc(builder.lshr(kept, splat(16, INT32)), vector_type(INT16))


def _rounded_to_odd(builder: ir.IRBuilder, x: Value) -> Value:
    """float64 to float32 with an odd last bit where inexact, so that rounding again is right.

    Boldo and Melquiond, Emulation of a FMA and correctly rounded sums, IEEE TC 2008.
    """
    single, double = vector_type(FLOAT), vector_type(DOUBLE)
    size = _absolute(builder, x)
    nearest = builder.fptrunc(x, single)
    back = _absolute(builder, builder.fpext(nearest, double))
    bits = builder.bitcast(nearest, vector_type(INT32))
    too_large = builder.fcmp_ordered(">", back, size)
    truncated = builder.select(too_large, builder.sub(bits, splat(1, INT32)), bits)
    again = builder.fpext(builder.bitcast(truncated, single), double)
    inexact = builder.fcmp_ordered("!=", again, x)
    finite = builder.fcmp_ordered("<", size, splat(float("inf"), DOUBLE))
    odd = builder.or_(truncated, splat(1, INT32))
    chosen = builder.select(builder.and_(inexact, finite), odd, truncated)
    return builder.bitcast(chosen, single)


def _absolute(builder: ir.IRBuilder, x: Value) -> Value:
    return intrinsic(builder, "llvm.fabs", [x])


def intrinsic(builder: ir.IRBuilder, name: str, arguments: list[Value]) -> Value:
    """Call an intrinsic that is named for the type of its first argument, which it returns."""
    kind = arguments[0].type
    function_type = ir.FunctionType(kind, [argument.type for argument in arguments])
    suffix = f"v{VECTOR_ELEMENTS}{kind.element.intrinsic_name}"
    full = f"{name}.{suffix}"
    function = builder.module.globals.get(full) or ir.Function(builder.module, function_type, full)
    return builder.call(function, arguments)


def any_set(builder: ir.IRBuilder, mask: Value) -> Value:
    """Whether any element of a vector of truth values is set, as a scalar truth value."""
    bits = builder.bitcast(mask, ir.IntType(mask.type.count))
    return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))


def lane_numbers(element: ir.IntType = INT64, elements: int = VECTOR_ELEMENTS) -> ir.Constant:
    """0, 1, 2, ... as a vector."""
    return ir.VectorType(element, elements)([element(number) for number in range(elements)])


def among_first(builder: ir.IRBuilder, count: Value, elements: int = VECTOR_ELEMENTS) -> Value:
    """Which elements of a vector are among the first `count`: none below 0; of at most 31 bits.

    Of 64 bits a comparison takes twice as many instructions.
    """
    numbers = lane_numbers(INT32, elements)
    narrow = builder.trunc(count, INT32)
    return builder.icmp_signed("<", numbers, spread_over(builder, narrow, numbers.type))


def folded(
    builder: ir.IRBuilder,
    lanes: Value,
    join: Callable[[ir.IRBuilder, Value, Value], Value] = ir.IRBuilder.fadd,
) -> Value:
    """The lower half of the lanes joined with the upper half, until one lane is left."""
    half = VECTOR_ELEMENTS // 2
    while half:
        kind = ir.VectorType(INT32, half)
        low, high = (
            builder.shuffle_vector(lanes, lanes, kind([INT32(first + i) for i in range(half)]))
            for first in (0, half)
        )
        lanes = join(builder, low, high)
        half //= 2
    return builder.extract_element(lanes, INT32(0))


def running_sums(builder: ir.IRBuilder, vector: Value) -> Value:
    """Each element of a vector of 32-bit integers and all before it."""
    zero, step = vector.type(None), 1
    while step < VECTOR_ELEMENTS:
        lanes = [
            lane - step if lane >= step else VECTOR_ELEMENTS for lane in range(VECTOR_ELEMENTS)
        ]
        moved = builder.shuffle_vector(vector, zero, vector_type(INT32)(list(map(INT32, lanes))))
        vector = builder.add(vector, moved)
        step *= 2
    return vector
