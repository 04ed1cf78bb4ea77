"""Emit the function that draws the masks of rows by rank: see `graphmerge.ops.ranked`.

    void rank_rows(values, mask, memory, bounds, numbers, words, rows, start)

Most entries are decided without their rank: by the random byte alone, or by where the magnitudes of
their first bits lie among all of the row. A histogram of a row tells that. The few others are
compared with the row, or with those of the same first bits after a scatter; where these are too
many, as in a row of ties, the row is sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.frozen_classes import frozen
from graphmerge.native.loops import at, each_set_bit, integer, least, load_element, loop, variable
from graphmerge.native.random_drop import DRAWN, DRAWN_ELEMENTS, draw, drawn_bytes, spread_over
from graphmerge.native.sorting import (
    BUCKET_SHIFT,
    Buckets,
    add_up,
    emit_keys,
    emit_sort_by_low_bits,
    magnitude_of,
)
from graphmerge.native.types import (
    DOUBLE,
    INT8,
    INT32,
    INT64,
    POINTER,
    VECTOR_ELEMENTS,
    lane_numbers,
    vector_type,
)
from graphmerge.ops.ranked import BUCKET_PART_BYTES, KEY_PADDING, MASK_PADDING_BYTES

if TYPE_CHECKING:
    from graphmerge.native.registry import Value

_MOST_COMPARED = 48
"""Undecided entries of a row that are compared with the whole of it."""
_MOST_SCANNED = 64
"""Comparisons per entry of a row above which it is sorted."""
_SHORT = 64
"""Entries up to which a row is one bucket."""
_VOID = ir.VoidType()


@frozen(eq=False)
class _Row:
    """What the code of one row is given: addresses and numbers."""

    builder: ir.IRBuilder
    values: Value
    mask: Value
    drawn: Value
    buckets: Buckets
    bounds: Value
    numbers: Value
    second_seed: Value
    row: Value
    flat: Value
    keys: Value
    sorted: Value
    places: Value

    def byte(self, place: Value) -> Value:
        """The random byte of an entry."""
        return self.builder.zext(load_element(self.builder, self.drawn, place, INT8), INT64)

    def bound(self, byte: Value) -> Value:
        """The first rank whose threshold is not below a byte."""
        loaded = load_element(self.builder, self.bounds, byte, INT32)
        return self.builder.zext(loaded, INT64)


def emit_ranking() -> ir.Module:
    """The module with the function."""
    module = ir.Module("ranking")
    sort = emit_sort_by_low_bits(module)
    function_type = ir.FunctionType(_VOID, [POINTER] * 6 + [INT64] * 2)
    function = ir.Function(module, function_type, "rank_rows")
    values, mask, memory, bounds, numbers, words, rows, start = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    seed, second_seed, row = (load_element(builder, words, integer(i), INT64) for i in range(3))
    elements = builder.mul(rows, row)
    drawn_end = builder.and_(
        builder.add(elements, integer(2 * MASK_PADDING_BYTES - 1)), integer(-MASK_PADDING_BYTES)
    )
    is_short = builder.icmp_unsigned("<=", row, integer(_SHORT))
    shift = builder.select(is_short, integer(31), integer(BUCKET_SHIFT))
    buckets = Buckets(builder, at(builder, memory, drawn_end), shift)
    keys = at(builder, buckets.memory, integer(3 * BUCKET_PART_BYTES))
    key_bytes = builder.mul(builder.add(row, integer(KEY_PADDING)), integer(8))
    others = at(builder, keys, key_bytes)
    places = at(builder, others, key_bytes)
    _draw(builder, memory, elements, start, seed)
    with loop(builder, rows) as number:
        first = builder.mul(number, row)
        one = _Row(
            builder, at(builder, values, first, INT32), at(builder, mask, first),
            at(builder, memory, first), buckets, bounds, numbers, second_seed, row,
            builder.add(start, first), keys, others, places,
        )  # fmt: skip
        filled = buckets.fill(one.values, row)
        _decide_rest(one, _decide_most(one), filled, sort)
    builder.ret_void()
    return module


def _draw(builder: ir.IRBuilder, memory: Value, elements: Value, start: Value, seed: Value) -> None:
    """The random byte of every element, and of some beyond."""
    with loop(builder, elements, DRAWN_ELEMENTS) as index:
        drawn = drawn_bytes(builder, builder.add(start, index), seed)
        builder.store(drawn, at(builder, memory, index), align=DRAWN_ELEMENTS)


def _decide_most(one: _Row) -> Value:
    """The mask of a row where byte and bucket decide; the rest is listed, and counted."""
    builder = one.builder
    lowest = load_element(builder, one.bounds, integer(257), INT32)
    highest = load_element(builder, one.bounds, integer(258), INT32)
    limits = [spread_over(builder, builder.trunc(x, INT8), DRAWN) for x in (lowest, highest)]
    count = variable(builder, integer(0))
    with loop(builder, one.row, DRAWN_ELEMENTS) as index:
        drawn = builder.load(at(builder, one.drawn, index), align=1, typ=DRAWN)
        kept = builder.icmp_unsigned("<", drawn, limits[0])
        builder.store(builder.zext(kept, DRAWN), at(builder, one.mask, index), align=1)
        possible = builder.icmp_unsigned("<=", drawn, limits[1])
        possible = builder.and_(possible, builder.not_(kept))
        left = least(builder, builder.sub(one.row, index), integer(DRAWN_ELEMENTS))
        inside = builder.lshr(integer(-1), builder.sub(integer(DRAWN_ELEMENTS), left))
        bits = builder.and_(builder.bitcast(possible, INT64), inside)
        with each_set_bit(builder, bits) as offset:
            _decide_by_bucket(one, builder.add(index, offset), count)
    return builder.load(count, typ=INT64)


def _decide_by_bucket(one: _Row, place: Value, count: Value) -> None:
    builder, byte = one.builder, one.byte(place)
    bucket = one.buckets.of(one.values, place)
    first, size = one.buckets.range_of(bucket)
    kept = builder.icmp_unsigned(">=", first, one.bound(builder.add(byte, integer(1))))
    builder.store(builder.zext(kept, INT8), at(builder, one.mask, place))
    below = builder.icmp_unsigned("<=", builder.add(first, size), one.bound(byte))
    number = builder.load(count, typ=INT64)
    narrow = builder.trunc(place, INT32)
    builder.store(narrow, at(builder, one.places, number, INT32))
    is_open = builder.not_(builder.or_(kept, below))
    builder.store(builder.add(number, builder.zext(is_open, INT64)), count)


def _decide_rest(
    one: _Row, undecided: Value, filled: tuple[Value, Value], sort: ir.Function
) -> None:
    builder = one.builder
    few = builder.icmp_unsigned("<=", undecided, integer(_MOST_COMPARED))
    with builder.if_else(few) as (compare, scan):
        with compare, loop(builder, undecided) as number:
            place = _listed(one, number)
            _resolve(one, place, _rank_by_comparing(one, place))
        with scan:
            _decide_by_scanning(one, undecided, filled, sort)


def _decide_by_scanning(
    one: _Row, undecided: Value, filled: tuple[Value, Value], sort: ir.Function
) -> None:
    """Scatter the row to its buckets; sorted before, if many would have to be compared."""
    builder = one.builder
    emit_keys(builder, one.values, one.row, one.keys)
    work = variable(builder, integer(0))
    with loop(builder, undecided) as number:
        bucket = one.buckets.of(one.values, _listed(one, number))
        _, size = one.buckets.range_of(bucket)
        builder.store(builder.add(builder.load(work, typ=INT64), size), work)
    most = builder.mul(one.row, integer(_MOST_SCANNED))
    many = builder.icmp_unsigned(">", builder.load(work, typ=INT64), most)
    with builder.if_else(many) as (sorting, scanning):
        with sorting:
            builder.call(sort, [one.keys, one.sorted, one.buckets.cursors, one.row])
            one.buckets.scatter(one.keys, one.sorted, one.row, filled)
            with loop(builder, one.row) as rank:
                key = load_element(builder, one.sorted, rank, INT64)
                place = builder.and_(key, integer(2**32 - 1))
                builder.store(builder.trunc(rank, INT32), at(builder, one.keys, place, INT32))
            with loop(builder, undecided) as number:
                place = _listed(one, number)
                rank = builder.zext(load_element(builder, one.keys, place, INT32), INT64)
                _resolve(one, place, rank)
        with scanning:
            one.buckets.scatter(one.keys, one.sorted, one.row, filled)
            with loop(builder, undecided) as number:
                place = _listed(one, number)
                _resolve(one, place, _rank_in_bucket(one, place))


def _listed(one: _Row, number: Value) -> Value:
    loaded = load_element(one.builder, one.places, number, INT32)
    return one.builder.zext(loaded, INT64)


def _rank_by_comparing(one: _Row, place: Value) -> Value:
    """How many entries of the row are smaller, or equal and before."""
    builder = one.builder
    own = magnitude_of(builder, one.values, place)
    count = variable(builder, integer(0))
    kind = vector_type(INT32)
    numbers = lane_numbers(INT32)
    whole = builder.and_(one.row, integer(-VECTOR_ELEMENTS))
    wanted = spread_over(builder, own, kind)
    narrow = spread_over(builder, builder.trunc(place, INT32), kind)
    sums = variable(builder, kind(None))
    with loop(builder, whole, VECTOR_ELEMENTS) as index:
        loaded = builder.load(at(builder, one.values, index, INT32), align=4, typ=kind)
        sizes = builder.and_(loaded, kind([INT32(0x7FFFFFFF)] * VECTOR_ELEMENTS))
        first = spread_over(builder, builder.trunc(index, INT32), kind)
        before = builder.icmp_signed("<", builder.add(first, numbers), narrow)
        limit = builder.sub(wanted, builder.sext(before, kind))
        smaller = builder.sext(builder.icmp_signed("<", sizes, limit), kind)
        builder.store(builder.sub(builder.load(sums, typ=kind), smaller), sums)
    with loop(builder, builder.sub(one.row, whole)) as offset:
        index = builder.add(whole, offset)
        size = magnitude_of(builder, one.values, index)
        limit = builder.add(own, builder.zext(builder.icmp_unsigned("<", index, place), INT32))
        smaller = builder.zext(builder.icmp_signed("<", size, limit), INT64)
        builder.store(builder.add(builder.load(count, typ=INT64), smaller), count)
    total = add_up(builder, builder.load(sums, typ=kind))
    return builder.add(builder.load(count, typ=INT64), builder.zext(total, INT64))


def _rank_in_bucket(one: _Row, place: Value) -> Value:
    """What is below the bucket, and what is smaller in it; later buckets hold nothing smaller."""
    builder = one.builder
    size = magnitude_of(builder, one.values, place)
    key = builder.or_(builder.shl(builder.zext(size, INT64), integer(32)), place)
    bucket = one.buckets.of(one.values, place)
    first, held = one.buckets.range_of(bucket)
    kind = ir.VectorType(INT64, KEY_PADDING)
    wanted = spread_over(builder, key, kind)
    counts = variable(builder, kind(None))
    with loop(builder, held, KEY_PADDING) as offset:
        index = builder.add(first, offset)
        keys = builder.load(at(builder, one.sorted, index, INT64), align=8, typ=kind)
        smaller = builder.sext(builder.icmp_signed("<", keys, wanted), kind)
        builder.store(builder.sub(builder.load(counts, typ=kind), smaller), counts)
    return builder.add(first, add_up(builder, builder.load(counts, typ=kind)))


def _resolve(one: _Row, place: Value, rank: Value) -> None:
    """The mask of an entry whose rank is known; 64 more bits are drawn where the byte is equal."""
    builder, byte = one.builder, one.byte(place)
    above = builder.icmp_unsigned(">=", rank, one.bound(builder.add(byte, integer(1))))
    builder.store(builder.zext(above, INT8), at(builder, one.mask, place))
    equal = builder.icmp_unsigned(">=", rank, one.bound(byte))
    with builder.if_then(builder.and_(equal, builder.not_(above)), likely=False):
        drawn = draw(builder, builder.add(one.flat, place), one.second_seed)
        kept = builder.icmp_unsigned("<", drawn, _rest(one, rank))
        builder.store(builder.zext(kept, INT8), at(builder, one.mask, place))


def _rest(one: _Row, rank: Value) -> Value:
    """64 bits of the probability of a rank beyond its first byte, as `ranked_limits` has them."""
    builder = one.builder
    lowest, rise = (load_element(builder, one.numbers, integer(i), DOUBLE) for i in range(2))
    last = builder.sub(one.row, integer(1))
    share = builder.fdiv(builder.uitofp(rank, DOUBLE), builder.uitofp(last, DOUBLE))
    share = builder.select(builder.icmp_unsigned("==", last, integer(0)), DOUBLE(0.5), share)
    scaled = builder.fmul(builder.fadd(lowest, builder.fmul(rise, share)), DOUBLE(256.0))
    whole = builder.uitofp(builder.fptoui(scaled, INT64), DOUBLE)
    return builder.fptoui(builder.fmul(builder.fsub(scaled, whole), DOUBLE(2.0**64)), INT64)
