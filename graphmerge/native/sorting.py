"""Emit what orders the magnitudes of a row: buckets by their first bits, and passes by the others.

Magnitudes are the 31 bits of float32 values without their sign; a key is a magnitude and, below it,
a place of 32 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.frozen_classes import frozen
from graphmerge.native.loops import at, integer, load_element, loop, variable
from graphmerge.native.types import (
    INT1,
    INT8,
    INT32,
    INT64,
    POINTER,
    VECTOR_ELEMENTS,
    lane_numbers,
    splat,
    vector_type,
)
from graphmerge.ops.ranked import BUCKET_BITS, BUCKET_PART_BYTES, KEY_PADDING

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.native.registry import Value

BUCKET_SHIFT = 31 - BUCKET_BITS
"""How many bits of a magnitude are below those of its bucket."""
_LOW_DIGITS = ((32, 10), (42, BUCKET_SHIFT - 10))
"""Lowest bit and width of the digits of a key below the bits of its bucket."""
_ALL_BUT_SIGN = 0x7FFFFFFF
_VOID = ir.VoidType()


def magnitude_of(builder: ir.IRBuilder, values: Value, place: Value) -> Value:
    """The bits of |x| of an entry, 32 of them."""
    return builder.and_(load_element(builder, values, place, INT32), INT32(_ALL_BUT_SIGN))


@frozen(eq=False)
class Buckets:
    """The buckets of a row, in memory of three numbers for each."""

    builder: ir.IRBuilder
    memory: Value
    shift: Value
    """How many bits are below those of the bucket: 31, which is one bucket for all, or 19."""

    @property
    def _counts(self) -> Value:
        return self.memory

    @property
    def _begins(self) -> Value:
        return at(self.builder, self.memory, integer(BUCKET_PART_BYTES))

    @property
    def cursors(self) -> Value:
        """Memory of a number per bucket."""
        return at(self.builder, self.memory, integer(2 * BUCKET_PART_BYTES))

    def of(self, values: Value, place: Value) -> Value:
        """The bucket of an entry."""
        magnitude = self.builder.zext(magnitude_of(self.builder, values, place), INT64)
        return self.builder.lshr(magnitude, self.shift)

    def range_of(self, bucket: Value) -> tuple[Value, Value]:
        """How many entries are in buckets below, and how many are in this."""
        parts = (self._begins, self._counts)
        found = [load_element(self.builder, part, bucket, INT32) for part in parts]
        begin, count = (self.builder.zext(value, INT64) for value in found)
        return begin, count

    def fill(self, values: Value, row: Value) -> tuple[Value, Value]:
        """Count a row; returns the first bucket with anything but zeros, and how many follow it."""
        builder = self.builder
        low, high = (builder.lshr(x, self.shift) for x in _extremes(builder, values, row))
        one = integer(1)
        first = builder.select(builder.icmp_unsigned("==", low, integer(0)), one, low)
        span = builder.sub(builder.add(high, one), first)  # 0 where all are in the lowest bucket
        builder.store(INT32(0), self._counts)
        counts = at(builder, self._counts, first, INT32)
        _clear(builder, counts, builder.shl(span, integer(2)))
        with loop(builder, row) as place:
            count = at(builder, self._counts, self.of(values, place), INT32)
            builder.store(builder.add(builder.load(count, typ=INT32), INT32(1)), count)
        total = variable(builder, builder.load(self._counts, typ=INT32))
        builder.store(INT32(0), self._begins)
        begins = at(builder, self._begins, first, INT32)
        _begin_after(builder, counts, begins, span, total)
        return first, span

    def scatter(self, keys: Value, target: Value, row: Value, filled: tuple[Value, Value]) -> None:
        """Keys to their buckets in order, and the highest numbers after them."""
        builder, (first, span) = self.builder, filled
        builder.store(INT32(0), self.cursors)
        with loop(builder, span) as offset:
            bucket = builder.add(first, offset)
            begin = load_element(builder, self._begins, bucket, INT32)
            builder.store(begin, at(builder, self.cursors, bucket, INT32))
        shift = builder.add(self.shift, integer(32))
        _move(builder, keys, target, self.cursors, row, lambda key: builder.lshr(key, shift))
        with loop(builder, integer(KEY_PADDING)) as offset:
            place = at(builder, target, builder.add(row, offset), INT64)
            builder.store(integer(2**63 - 1), place)


def emit_keys(builder: ir.IRBuilder, values: Value, row: Value, keys: Value) -> None:
    """The keys of a row, and of some places beyond."""
    kind, wide = vector_type(INT32), vector_type(INT64)
    numbers = lane_numbers()
    whole = builder.and_(row, integer(-VECTOR_ELEMENTS))
    with loop(builder, whole, VECTOR_ELEMENTS) as index:
        bits = builder.load(at(builder, values, index, INT32), align=4, typ=kind)
        sizes = builder.zext(builder.and_(bits, splat(_ALL_BUT_SIGN, INT32)), wide)
        empty = ir.Constant(wide, ir.Undefined)
        first = builder.insert_element(empty, index, INT32(0))
        first = builder.shuffle_vector(first, empty, vector_type(INT32)(None))
        found = builder.or_(builder.shl(sizes, splat(32, INT64)), builder.add(first, numbers))
        builder.store(found, at(builder, keys, index, INT64), align=8)
    with loop(builder, builder.sub(row, whole)) as offset:
        index = builder.add(whole, offset)
        size = builder.zext(magnitude_of(builder, values, index), INT64)
        key = builder.or_(builder.shl(size, integer(32)), index)
        builder.store(key, at(builder, keys, index, INT64))


def emit_sort_by_low_bits(module: ir.Module) -> ir.Function:
    """void sort(keys, others, counts, row): by the bits below those of the bucket, stable."""
    function_type = ir.FunctionType(_VOID, [POINTER] * 3 + [INT64])
    function = ir.Function(module, function_type, "sort_by_low_bits")
    function.linkage = "internal"
    function.attributes.add("noinline")
    source, target, counts, row = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    for low, width in _LOW_DIGITS:
        most = integer((1 << width) - 1)

        def digit(key: Value, low: int = low, most: Value = most) -> Value:
            return builder.and_(builder.lshr(key, integer(low)), most)

        _clear(builder, counts, integer(4 << width))
        with loop(builder, row) as place:
            key = load_element(builder, source, place, INT64)
            count = at(builder, counts, digit(key), INT32)
            builder.store(builder.add(builder.load(count, typ=INT32), INT32(1)), count)
        total = variable(builder, INT32(0))
        _begin_after(builder, counts, counts, integer(1 << width), total)
        _move(builder, source, target, counts, row, digit)
        source, target = target, source
    builder.ret_void()
    return function


def _extremes(builder: ir.IRBuilder, values: Value, row: Value) -> tuple[Value, Value]:
    """The least magnitude that is not zero (zero, if there is none), and the largest."""
    least, most = variable(builder, INT32(-1)), variable(builder, INT32(0))
    kind = vector_type(INT32)
    leasts, mosts = variable(builder, splat(-1, INT32)), variable(builder, kind(None))
    whole = builder.and_(row, integer(-VECTOR_ELEMENTS))
    with loop(builder, whole, VECTOR_ELEMENTS) as index:
        bits = builder.load(at(builder, values, index, INT32), align=4, typ=kind)
        sizes = builder.and_(bits, splat(_ALL_BUT_SIGN, INT32))
        _keep(builder, leasts, builder.sub(sizes, splat(1, INT32)), "<")
        _keep(builder, mosts, sizes, ">")
    with loop(builder, builder.sub(row, whole)) as offset:
        size = magnitude_of(builder, values, builder.add(whole, offset))
        _keep(builder, least, builder.sub(size, INT32(1)), "<")
        _keep(builder, most, size, ">")
    _keep(builder, least, _reduced(builder, "umin", builder.load(leasts, typ=kind)), "<")
    _keep(builder, most, _reduced(builder, "umax", builder.load(mosts, typ=kind)), ">")
    low = builder.add(builder.load(least, typ=INT32), INT32(1))
    return builder.zext(low, INT64), builder.zext(builder.load(most, typ=INT32), INT64)


def _keep(builder: ir.IRBuilder, place: Value, value: Value, when: str) -> None:
    """Put a value in place of another where it is smaller, or greater."""
    held = builder.load(place, typ=value.type)
    chosen = builder.select(builder.icmp_unsigned(when, value, held), value, held)
    builder.store(chosen, place)


def add_up(builder: ir.IRBuilder, vector: Value) -> Value:
    """The sum of a vector of integers."""
    return _reduced(builder, "add", vector)


def _reduced(builder: ir.IRBuilder, how: str, vector: Value) -> Value:
    kind = vector.type
    name = f"llvm.vector.reduce.{how}.v{kind.count}i{kind.element.width}"
    known = builder.module.globals.get(name)
    function = known or ir.Function(builder.module, ir.FunctionType(kind.element, [kind]), name)
    return builder.call(function, [vector])


def _clear(builder: ir.IRBuilder, place: Value, size_bytes: Value) -> None:
    name = "llvm.memset.p0.i64"
    function_type = ir.FunctionType(_VOID, [POINTER, INT8, INT64, INT1])
    known = builder.module.globals.get(name)
    builder.call(
        known or ir.Function(builder.module, function_type, name),
        [place, INT8(0), size_bytes, INT1(0)],
    )


def _begin_after(
    builder: ir.IRBuilder, counts: Value, begins: Value, length: Value, total: Value
) -> None:
    """Where each begins that comes after all before it, and after a total."""
    with loop(builder, length) as index:
        count = load_element(builder, counts, index, INT32)
        before = builder.load(total, typ=INT32)
        builder.store(before, at(builder, begins, index, INT32))
        builder.store(builder.add(before, count), total)


def _move(
    builder: ir.IRBuilder,
    source: Value,
    target: Value,
    cursors: Value,
    row: Value,
    digit: Callable[[Value], Value],
) -> None:
    """Each key to where the cursor of its digit is, which goes on by one."""
    with loop(builder, row) as place:
        key = load_element(builder, source, place, INT64)
        cursor = at(builder, cursors, digit(key), INT32)
        position = builder.load(cursor, typ=INT32)
        builder.store(key, at(builder, target, builder.zext(position, INT64), INT64))
        builder.store(builder.add(position, INT32(1)), cursor)
