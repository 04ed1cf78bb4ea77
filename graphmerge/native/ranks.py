"""Emit the functions that find the rank of one entry of a row, upwards by magnitude and place."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.frozen_classes import frozen
from graphmerge.native.loops import at, integer, least, load_element, loop, variable
from graphmerge.native.sorting import emit_sort, magnitude_of, reduced
from graphmerge.native.types import (
    INT1,
    INT32,
    INT64,
    POINTER,
    VECTOR_ELEMENTS,
    among_first,
    any_set,
    splat,
    spread,
    spread_over,
    vector_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.native.registry import Value

_NARROW = vector_type(INT32)
_COMPARED = 64
"""Entries of a row that are compared at once: truth values of as many are counted as bits."""
_WIDE = ir.VectorType(INT32, _COMPARED)


@frozen(eq=False)
class Functions:
    """Ways to find ranks."""

    in_row: ir.Function
    """int64 rank_in_row(values, row, place), by comparing with the whole row."""
    in_bucket: ir.Function
    """int64 rank_in_bucket(keys, first, end, position), by comparing with keys from first to end.

    Keys are magnitudes of 32 bits, all smaller ones before `first`, equal ones in order.
    """
    is_mixed: ir.Function
    """int1 is_mixed(keys, first, end): whether keys differ."""
    sort: ir.Function
    """See `emit_sort`."""

    @classmethod
    def emit(cls, module: ir.Module) -> Functions:
        """All of them."""
        return cls(_in_row(module), _in_bucket(module), _is_mixed(module), emit_sort(module))


def _function(module: ir.Module, name: str, kind: ir.FunctionType) -> ir.Function:
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function


def _in_row(module: ir.Module) -> ir.Function:
    function = _function(module, "rank_in_row", ir.FunctionType(INT64, [POINTER, INT64, INT64]))
    values, row, place = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    own = magnitude_of(builder, values, place)
    smaller = builder.sub(own, INT32(1))
    whole, before = (builder.and_(x, integer(-_COMPARED)) for x in (row, place))
    after = builder.add(before, integer(_COMPARED))
    count = variable(builder, integer(0))

    def add(number: Value) -> None:
        builder.store(builder.add(builder.load(count, typ=INT64), number), count)

    def not_above(index: Value, most: Value) -> Value:
        bits = builder.load(at(builder, values, index, INT32), align=4, typ=_WIDE)
        sizes = builder.and_(bits, _WIDE([INT32(0x7FFFFFFF)] * _COMPARED))
        found = builder.icmp_signed("<=", sizes, spread_over(builder, most, _WIDE))
        return builder.bitcast(found, INT64)

    with loop(builder, least(builder, before, whole), _COMPARED) as index:
        add(builder.ctpop(not_above(index, own)))
    with builder.if_then(builder.icmp_unsigned("<", before, whole)):
        earlier = builder.shl(integer(-1), builder.and_(place, integer(_COMPARED - 1)))
        equal = builder.and_(not_above(before, own), builder.not_(earlier))
        add(builder.ctpop(builder.or_(not_above(before, smaller), equal)))
        with loop(builder, builder.sub(whole, after), _COMPARED) as offset:
            add(builder.ctpop(not_above(builder.add(after, offset), smaller)))
    with loop(builder, builder.sub(row, whole)) as offset:
        index = builder.add(whole, offset)
        most = builder.select(builder.icmp_unsigned("<", index, place), own, smaller)
        found = builder.icmp_signed("<=", magnitude_of(builder, values, index), most)
        add(builder.zext(found, INT64))
    builder.ret(builder.load(count, typ=INT64))
    return function


def _in_bucket(module: ir.Module) -> ir.Function:
    kind = ir.FunctionType(INT64, [POINTER, INT64, INT64, INT64])
    function = _function(module, "rank_in_bucket", kind)
    keys, first, end, position = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    own = spread(builder, load_element(builder, keys, position, INT32))
    sums = variable(builder, _NARROW(None))
    with _keys_between(builder, keys, first, end) as (index, found, inside):
        is_before = among_first(builder, builder.sub(position, index))
        limit = builder.sub(own, builder.sext(is_before, _NARROW))
        smaller = builder.icmp_signed("<", found, limit)
        _count(builder, sums, builder.and_(smaller, inside))
    count = reduced(builder, "add", builder.load(sums, typ=_NARROW))
    builder.ret(builder.add(first, builder.zext(count, INT64)))
    return function


def _is_mixed(module: ir.Module) -> ir.Function:
    kind = ir.FunctionType(INT1, [POINTER, INT64, INT64])
    function = _function(module, "is_mixed", kind)
    keys, first, end = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    own = spread(builder, load_element(builder, keys, first, INT32))
    bits = variable(builder, _NARROW(None))
    with _keys_between(builder, keys, first, end) as (_, found, inside):
        other = builder.select(inside, builder.xor(found, own), _NARROW(None))
        builder.store(builder.or_(builder.load(bits, typ=_NARROW), other), bits)
    differ = builder.icmp_unsigned("!=", builder.load(bits, typ=_NARROW), splat(0, INT32))
    builder.ret(any_set(builder, differ))
    return function


@contextmanager
def _keys_between(
    builder: ir.IRBuilder, keys: Value, first: Value, end: Value
) -> Iterator[tuple[Value, Value, Value]]:
    """A loop over vectors of keys; gives a place, the keys from there, and which are before end."""
    with loop(builder, builder.sub(end, first), VECTOR_ELEMENTS) as offset:
        index = builder.add(first, offset)
        found = builder.load(at(builder, keys, index, INT32), align=4, typ=_NARROW)
        yield index, found, among_first(builder, builder.sub(end, index))


def _count(builder: ir.IRBuilder, sums: Value, which: Value) -> None:
    """Add 1 to the sums of lanes where a truth value is set."""
    ones = builder.sext(which, _NARROW)
    builder.store(builder.sub(builder.load(sums, typ=_NARROW), ones), sums)
