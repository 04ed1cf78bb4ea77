"""Emit the functions that find ranks of entries of a row, upwards by magnitude and place."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.frozen_classes import frozen
from graphmerge.native.loops import at, integer, least, load_element, loop, variable
from graphmerge.native.sorting import emit_sort, magnitude_of, magnitudes_at, reduced
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
    from collections.abc import Iterator, Sequence

    from graphmerge.native.registry import Value

_NARROW = vector_type(INT32)
RANKED_AT_ONCE = 4
"""Entries that are compared with a row at once: it is loaded once for all of them."""
_AT_ONCE = 8
"""Entries of a row in a vector: counting takes half as long again in vectors of 16 by AVX-512."""
_LANES = ir.VectorType(INT32, _AT_ONCE)


@frozen(eq=False)
class Functions:
    """Ways to find ranks."""

    in_row: ir.Function
    """void ranks_in_row(values, row, places, count, ranks), by comparing with the whole row.

    `places` are `count` places, at least one and at most RANKED_AT_ONCE, from lower to higher; as
    many of `ranks`, which has room for RANKED_AT_ONCE numbers of 32 bits, are those of the entries.
    """
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
    kind = ir.FunctionType(ir.VoidType(), [POINTER, INT64, POINTER, INT64, POINTER])
    function = _function(module, "ranks_in_row", kind)
    values, row, places, count, ranks = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    last = builder.sub(count, integer(1))
    entries = [
        _Compared.of(builder, values, places, least(builder, integer(number), last))
        for number in range(RANKED_AT_ONCE)
    ]
    _compare_vectors(builder, values, row, entries)
    _compare_rest(builder, values, row, entries)
    for number, entry in enumerate(entries):
        rank = builder.sub(builder.trunc(row, INT32), entry.counted())
        builder.store(rank, at(builder, ranks, integer(number), INT32))
    builder.ret_void()
    return function


@frozen(eq=False)
class _Compared:
    """An entry of a row that is compared with all of it."""

    builder: ir.IRBuilder
    place: Value
    own: Value
    """Its magnitude."""
    lanes: Value
    """A vector of numbers: how many that do not come before it every lane of whole vectors saw."""
    in_rest: Value
    """The same of entries behind whole vectors."""

    @classmethod
    def of(cls, builder: ir.IRBuilder, values: Value, places: Value, number: Value) -> _Compared:
        """An entry of a list of places."""
        place = builder.zext(load_element(builder, places, number, INT32), INT64)
        own = magnitude_of(builder, values, place)
        lanes, in_rest = variable(builder, _LANES(None)), variable(builder, INT32(0))
        return cls(builder, place, own, lanes, in_rest)

    @property
    def limit_after(self) -> Value:
        """Behind it, magnitudes above this do not come before it: equal ones neither, nor it."""
        return self.builder.sub(self.own, INT32(1))

    def add(self, larger: Value) -> None:
        """Count a truth value."""
        held = self.builder.load(self.in_rest, typ=INT32)
        more = self.builder.zext(larger, INT32)
        self.builder.store(self.builder.add(held, more), self.in_rest)

    def counted(self) -> Value:
        """How many have been counted."""
        lanes = reduced(self.builder, "add", self.builder.load(self.lanes, typ=_LANES))
        return self.builder.add(lanes, self.builder.load(self.in_rest, typ=INT32))


def _compare_vectors(
    builder: ir.IRBuilder, values: Value, row: Value, entries: Sequence[_Compared]
) -> None:
    """Count what is larger in whole vectors, in parts between the vectors that entries are in."""
    whole = builder.and_(row, integer(-_AT_ONCE))
    limits = [spread_over(builder, entry.own, _LANES) for entry in entries]
    start: Value = integer(0)
    for number, entry in enumerate((*entries, None)):
        end = whole if entry is None else builder.and_(entry.place, integer(-_AT_ONCE))
        with loop(builder, builder.sub(end, start), _AT_ONCE) as offset:
            found = magnitudes_at(builder, values, builder.add(start, offset), _AT_ONCE)
            for other, limit in zip(entries, limits, strict=True):
                _count(builder, other.lanes, builder.icmp_signed(">", found, limit))
        if entry is not None:
            limits[number], start = spread_over(builder, entry.limit_after, _LANES), end
            with builder.if_then(builder.icmp_unsigned("<", end, whole)):
                _correct(builder, values, entry, end)


def _correct(builder: ir.IRBuilder, values: Value, entry: _Compared, begin: Value) -> None:
    """Take back the equal ones before an entry in its own vector, counted as larger."""
    found = magnitudes_at(builder, values, begin, _AT_ONCE)
    own = spread_over(builder, entry.own, _LANES)
    is_before = among_first(builder, builder.sub(entry.place, begin), _AT_ONCE)
    equal = builder.and_(builder.icmp_signed("==", found, own), is_before)
    held = builder.load(entry.lanes, typ=_LANES)
    builder.store(builder.add(held, builder.sext(equal, _LANES)), entry.lanes)


def _compare_rest(
    builder: ir.IRBuilder, values: Value, row: Value, entries: Sequence[_Compared]
) -> None:
    """Count what is larger behind whole vectors."""
    whole = builder.and_(row, integer(-_AT_ONCE))
    with loop(builder, builder.sub(row, whole)) as offset:
        index = builder.add(whole, offset)
        found = magnitude_of(builder, values, index)
        for entry in entries:
            is_before = builder.icmp_unsigned("<", index, entry.place)
            limit = builder.select(is_before, entry.own, entry.limit_after)
            entry.add(builder.icmp_signed(">", found, limit))


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
        smaller = builder.icmp_unsigned("<", found, limit)  # own + 1 may be 2^31
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
    kind = ir.VectorType(INT32, which.type.count)
    held = builder.load(sums, typ=kind)
    builder.store(builder.sub(held, builder.sext(which, kind)), sums)
