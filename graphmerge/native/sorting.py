"""Emit what orders the magnitudes of a row: a radix sort of keys.

Magnitudes are the 31 bits of float32 values without their sign; a key is a magnitude and, below it,
a place of 32 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.loops import at, clear, integer, load_element, loop, variable
from graphmerge.native.types import (
    INT32,
    INT64,
    POINTER,
    VECTOR_ELEMENTS,
    lane_numbers,
    splat,
    spread,
    vector_type,
)

if TYPE_CHECKING:
    from graphmerge.native.registry import Value

_DIGITS = ((32, 10), (42, 10), (52, 11))
"""Lowest bit and width of the digits of a key that are those of a magnitude."""
COUNTS_BYTES = 4 << max(width for _, width in _DIGITS)
"""Memory of a number for every value of a digit."""
_ALL_BUT_SIGN = 0x7FFFFFFF
_VOID = ir.VoidType()


def magnitude_of(builder: ir.IRBuilder, values: Value, place: Value) -> Value:
    """The bits of |x| of an entry, 32 of them."""
    return builder.and_(load_element(builder, values, place, INT32), INT32(_ALL_BUT_SIGN))


def magnitudes_at(
    builder: ir.IRBuilder, values: Value, index: Value, elements: int = VECTOR_ELEMENTS
) -> Value:
    """The same of a vector of entries."""
    kind = ir.VectorType(INT32, elements)
    bits = builder.load(at(builder, values, index, INT32), align=4, typ=kind)
    return builder.and_(bits, kind([INT32(_ALL_BUT_SIGN)] * elements))


def emit_sort(module: ir.Module) -> ir.Function:
    """void sort_row(values, ranks, keys, others, counts, row): where each entry is in order.

    Entries are ordered upwards by magnitude, equal ones by place. `ranks` is a number of 32 bits
    for each, in the memory of `keys` if the caller likes; keys and others are of 64 bits.
    """
    function_type = ir.FunctionType(_VOID, [POINTER] * 5 + [INT64])
    function = ir.Function(module, function_type, "sort_row")
    function.linkage = "internal"
    function.attributes.add("noinline")
    values, ranks, source, target, counts, row = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    _keys(builder, values, row, source)
    for low, width in _DIGITS:
        _sort_by_digit(builder, (source, target), counts, row, low, width)
        source, target = target, source
    with loop(builder, row) as rank:
        place = load_element(builder, source, rank, INT64)
        place = builder.and_(place, integer(0xFFFFFFFF))
        builder.store(builder.trunc(rank, INT32), at(builder, ranks, place, INT32))
    builder.ret_void()
    return function


def _keys(builder: ir.IRBuilder, values: Value, row: Value, keys: Value) -> None:
    """The keys of a row."""
    wide = vector_type(INT64)
    whole = builder.and_(row, integer(-VECTOR_ELEMENTS))
    with loop(builder, whole, VECTOR_ELEMENTS) as index:
        sizes = builder.zext(magnitudes_at(builder, values, index), wide)
        places = builder.add(spread(builder, index), lane_numbers())
        found = builder.or_(builder.shl(sizes, splat(32, INT64)), places)
        builder.store(found, at(builder, keys, index, INT64), align=8)
    with loop(builder, builder.sub(row, whole)) as offset:
        index = builder.add(whole, offset)
        size = builder.zext(magnitude_of(builder, values, index), INT64)
        key = builder.or_(builder.shl(size, integer(32)), index)
        builder.store(key, at(builder, keys, index, INT64))


def _sort_by_digit(
    builder: ir.IRBuilder,
    keys: tuple[Value, Value],
    counts: Value,
    row: Value,
    low: int,
    width: int,
) -> None:
    """Keys from one place to another, by a digit; those of one digit stay in order."""
    source, target = keys
    most = integer((1 << width) - 1)

    def cursor_of(key: Value) -> Value:
        digit = builder.and_(builder.lshr(key, integer(low)), most)
        return at(builder, counts, digit, INT32)

    clear(builder, counts, integer(4 << width))
    with loop(builder, row) as place:
        count = cursor_of(load_element(builder, source, place, INT64))
        builder.store(builder.add(builder.load(count, typ=INT32), INT32(1)), count)
    total = variable(builder, INT32(0))
    with loop(builder, integer(1 << width)) as digit:
        held = load_element(builder, counts, digit, INT32)
        before = builder.load(total, typ=INT32)
        builder.store(before, at(builder, counts, digit, INT32))
        builder.store(builder.add(before, held), total)
    with loop(builder, row) as place:
        key = load_element(builder, source, place, INT64)
        cursor = cursor_of(key)
        position = builder.load(cursor, typ=INT32)
        builder.store(key, at(builder, target, builder.zext(position, INT64), INT64))
        builder.store(builder.add(position, INT32(1)), cursor)


def reduced(builder: ir.IRBuilder, how: str, vector: Value) -> Value:
    """All elements of a vector of integers in one: `add`, `umin`, `umax` or `or`."""
    kind = vector.type
    name = f"llvm.vector.reduce.{how}.v{kind.count}i{kind.element.width}"
    known = builder.module.globals.get(name)
    function = known or ir.Function(builder.module, ir.FunctionType(kind.element, [kind]), name)
    return builder.call(function, [vector])
