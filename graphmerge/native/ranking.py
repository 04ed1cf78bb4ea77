"""Emit the function that draws the masks of rows by rank: see `graphmerge.ops.ranked`.

    void rank_rows(values, mask, memory, numbers, words, rows, start)

`words` are as `SEED` and the others say; `mask` has room for 64 bytes more than there are
elements.

Most entries are decided without their rank: by the random byte, and where their bucket lies among
all of the row. A histogram of a row tells that. The few others are compared with the whole row, or
where they are more with those of the same bucket after a scatter, unless all of it are equal; where
that is too much, the row is sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.frozen_classes import frozen
from graphmerge.native.buckets import EQUAL, MIXED, UNKNOWN, Buckets
from graphmerge.native.loops import at, each_set_bit, integer, least, load_element, loop, variable
from graphmerge.native.random_drop import DRAWN_ELEMENTS, draw, drawn_bytes
from graphmerge.native.ranks import RANKED_AT_ONCE, Functions
from graphmerge.native.types import (
    DOUBLE,
    FLOAT,
    INT8,
    INT16,
    INT32,
    INT64,
    POINTER,
)
from graphmerge.ops.ranked import BUCKET_BYTES, MASK_PADDING_BYTES, SORTING_BYTES

if TYPE_CHECKING:
    from graphmerge.native.registry import Value

SEED, SECOND_SEED, ROW, BLOCK = range(4)
"""Where in `words` two seeds are and the elements of a row; and of a block, for who cuts rows into
blocks."""
WORDS = 4
_MOST_COMPARED = 64
"""Undecided entries of a row that are compared with the whole of it; scattering takes as long."""
_MOST_SCANNED = 64
"""Comparisons per entry of a row above which it is sorted."""
_MARGIN = 1e-6
"""More than float64 may be wrong by, in units of a random byte."""
_COMPARED = 32
"""Entries whose bytes are compared at once."""
_WORDS, _BYTES = (ir.VectorType(kind, _COMPARED) for kind in (INT16, INT8))
_VOID = ir.VoidType()


@frozen(eq=False)
class _Row:
    """What the code of one row is given: addresses and numbers."""

    builder: ir.IRBuilder
    values: Value
    mask: Value
    drawn: Value
    buckets: Buckets
    numbers: Value
    second_seed: Value
    row: Value
    flat: Value
    keys: Value
    others: Value
    places: Value
    counts: Value

    def byte(self, place: Value) -> Value:
        """The random byte of an entry."""
        return self.builder.zext(load_element(self.builder, self.drawn, place, INT8), INT64)

    def more_bits(self, place: Value) -> Value:
        """64 more random bits."""
        return draw(self.builder, self.builder.add(self.flat, place), self.second_seed)

    def number(self, index: int) -> Value:
        """One of the numbers that the function is given."""
        return load_element(self.builder, self.numbers, integer(index), DOUBLE)

    def listed(self, number: Value) -> Value:
        """The place of an undecided entry."""
        loaded = load_element(self.builder, self.places, number, INT32)
        return self.builder.zext(loaded, INT64)


def emit_ranking(module: ir.Module) -> ir.Function:
    """Emit the function."""
    calls = Functions.emit(module)
    function_type = ir.FunctionType(_VOID, [POINTER] * 5 + [INT64] * 2)
    function = ir.Function(module, function_type, "rank_rows")
    values, mask, memory, numbers, words, rows, start = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    seed, second_seed, row = (
        load_element(builder, words, integer(i), INT64) for i in (SEED, SECOND_SEED, ROW)
    )
    elements = builder.mul(rows, row)
    sizes = [elements, integer(BUCKET_BYTES), row, *[builder.mul(row, integer(8))] * 2]
    drawn, held, ids, keys, others, rest = _divided(builder, memory, sizes)
    counts, places = rest, at(builder, rest, integer(SORTING_BYTES))
    buckets = Buckets(builder, held, ids)
    _draw(builder, drawn, elements, start, seed)
    slope = [
        builder.fptrunc(load_element(builder, numbers, integer(i), DOUBLE), FLOAT) for i in (2, 3)
    ]
    with loop(builder, rows) as number:
        first = builder.mul(number, row)
        one = _Row(
            builder, at(builder, values, first, INT32), at(builder, mask, first),
            at(builder, drawn, first), buckets, numbers, second_seed, row,
            builder.add(start, first), keys, others, places, counts,
        )  # fmt: skip
        is_first = builder.icmp_unsigned("==", number, integer(0))
        with builder.if_then(builder.or_(is_first, buckets.differ(row))):
            buckets.fill(one.values, row, slope)
        _decide_rest(one, _decide_most(one), calls)
    builder.ret_void()
    return function


def _divided(builder: ir.IRBuilder, memory: Value, sizes: list[Value]) -> list[Value]:
    """Where parts of memory begin that are as `graphmerge.ops.ranked.padded` says, and the rest."""
    parts = [memory]
    for size in sizes:
        up = builder.add(size, integer(2 * MASK_PADDING_BYTES - 1))
        parts.append(at(builder, parts[-1], builder.and_(up, integer(-MASK_PADDING_BYTES))))
    return parts


def _draw(builder: ir.IRBuilder, drawn: Value, elements: Value, start: Value, seed: Value) -> None:
    """The random byte of every element, and of some beyond."""
    with loop(builder, elements, DRAWN_ELEMENTS) as index:
        bytes_ = drawn_bytes(builder, builder.add(start, index), seed)
        builder.store(bytes_, at(builder, drawn, index), align=DRAWN_ELEMENTS)


def _decide_most(one: _Row) -> Value:
    """The mask of a row where byte and bucket decide; the rest is listed, and counted."""
    builder = one.builder
    count = variable(builder, integer(0))
    one.buckets.look_up(one.row, one.keys)
    with loop(builder, one.row, _COMPARED) as index:
        limits = builder.load(at(builder, one.keys, index, INT16), align=2, typ=_WORDS)
        byte = builder.load(at(builder, one.drawn, index), align=1, typ=_BYTES)
        drawn = builder.zext(byte, _WORDS)
        surely = builder.and_(limits, _WORDS([INT16(0xFF)] * _COMPARED))
        possibly = builder.lshr(limits, _WORDS([INT16(8)] * _COMPARED))
        kept = builder.icmp_unsigned("<", drawn, surely)
        builder.store(builder.zext(kept, _BYTES), at(builder, one.mask, index), align=1)
        possible = builder.icmp_unsigned("<=", drawn, possibly)
        is_open = builder.and_(builder.not_(kept), possible)
        bits = builder.bitcast(is_open, ir.IntType(_COMPARED))
        left = least(builder, builder.sub(one.row, index), integer(_COMPARED))
        inside = builder.lshr(integer(-1), builder.sub(integer(64), left))
        bits = builder.and_(bits, builder.trunc(inside, bits.type))
        with each_set_bit(builder, bits) as offset:
            _decide_by_more_bits(one, builder.add(index, offset), count)
    return builder.load(count, typ=INT64)


def _decide_by_more_bits(one: _Row, place: Value, count: Value) -> None:
    """Look at all random bits; where these are between what the ranks of a bucket need, list it."""
    builder = one.builder
    more = builder.fmul(builder.uitofp(one.more_bits(place), DOUBLE), DOUBLE(2.0**-64))
    drawn = builder.fadd(builder.uitofp(one.byte(place), DOUBLE), more)
    lowest, rise = one.number(2), one.number(3)
    first, end = one.buckets.range_of(one.buckets.of(place))
    of_first, of_last = (
        builder.fadd(lowest, builder.fmul(builder.uitofp(rank, DOUBLE), rise))
        for rank in (first, builder.sub(end, integer(1)))
    )
    kept = builder.fcmp_ordered("<", drawn, builder.fsub(of_first, DOUBLE(_MARGIN)))
    builder.store(builder.zext(kept, INT8), at(builder, one.mask, place))
    dropped = builder.fcmp_ordered(">", drawn, builder.fadd(of_last, DOUBLE(_MARGIN)))
    number = builder.load(count, typ=INT64)
    builder.store(builder.trunc(place, INT32), at(builder, one.places, number, INT32))
    is_open = builder.not_(builder.or_(kept, dropped))
    builder.store(builder.add(number, builder.zext(is_open, INT64)), count)


def _decide_rest(one: _Row, undecided: Value, calls: Functions) -> None:
    builder = one.builder
    few = builder.icmp_unsigned("<=", undecided, integer(_MOST_COMPARED))
    with builder.if_else(few) as (compare, scan):
        with compare:
            _decide_by_comparing(one, undecided, calls)
        with scan:
            _decide_by_scanning(one, undecided, calls)


def _decide_by_comparing(one: _Row, undecided: Value, calls: Functions) -> None:
    """Compare what is undecided with the whole row."""
    builder = one.builder
    with loop(builder, undecided, RANKED_AT_ONCE) as first:
        places, ranks = (at(builder, memory, first, INT32) for memory in (one.places, one.others))
        left = least(builder, builder.sub(undecided, first), integer(RANKED_AT_ONCE))
        builder.call(calls.in_row, [one.values, one.row, places, left, ranks])
    with loop(builder, undecided) as number:
        rank = load_element(builder, one.others, number, INT32)
        _resolve(one, one.listed(number), builder.zext(rank, INT64))


def _decide_by_scanning(one: _Row, undecided: Value, calls: Functions) -> None:
    """Scatter the row to its buckets; sort it, if many in a bucket would have to be compared."""
    builder, buckets = one.builder, one.buckets
    buckets.scatter(one.values, one.row, one.keys, one.others)
    work = variable(builder, integer(0))
    with loop(builder, undecided) as number:
        size = _compared(one, buckets.of(one.listed(number)), calls)
        builder.store(builder.add(builder.load(work, typ=INT64), size), work)
    most = builder.mul(one.row, integer(_MOST_SCANNED))
    many = builder.icmp_unsigned(">", builder.load(work, typ=INT64), most)
    with builder.if_else(many) as (sorting, scanning):
        with sorting:
            arguments = [one.values, one.keys, one.keys, one.others, one.counts, one.row]
            builder.call(calls.sort, arguments)
            with loop(builder, undecided) as number:
                place = one.listed(number)
                rank = load_element(builder, one.keys, place, INT32)
                _resolve(one, place, builder.zext(rank, INT64))
        with scanning, loop(builder, undecided) as number:
            place = one.listed(number)
            _resolve(one, place, _rank_in_bucket(one, place, calls))


def _compared(one: _Row, bucket: Value, calls: Functions) -> Value:
    """How many an entry of a bucket has to be compared with; none, if all are equal."""
    builder, buckets = one.builder, one.buckets
    first, end = buckets.range_of(bucket)
    known = buckets.note_of(bucket)
    with builder.if_then(builder.icmp_unsigned("==", known, UNKNOWN)):
        mixed = builder.call(calls.is_mixed, [one.keys, first, end])
        buckets.note(bucket, builder.select(mixed, MIXED, EQUAL))
    are_equal = builder.icmp_unsigned("==", buckets.note_of(bucket), EQUAL)
    return builder.select(are_equal, integer(0), builder.sub(end, first))


def _rank_in_bucket(one: _Row, place: Value, calls: Functions) -> Value:
    """The position after the scatter where a bucket's magnitudes are equal, else by comparing."""
    builder, buckets = one.builder, one.buckets
    bucket = buckets.of(place)
    first, end = buckets.range_of(bucket)
    position = builder.zext(load_element(builder, one.others, place, INT32), INT64)
    rank = variable(builder, position)
    with builder.if_then(builder.icmp_unsigned("==", buckets.note_of(bucket), MIXED)):
        found = builder.call(calls.in_bucket, [one.keys, first, end, position])
        builder.store(found, rank)
    return builder.load(rank, typ=INT64)


def _resolve(one: _Row, place: Value, rank: Value) -> None:
    """The mask of an entry whose rank is known, as `ranked_limits` says."""
    builder, byte = one.builder, one.byte(place)
    lowest, rise = one.number(0), one.number(1)
    last = builder.sub(one.row, integer(1))
    share = builder.fdiv(builder.uitofp(rank, DOUBLE), builder.uitofp(last, DOUBLE))
    share = builder.select(builder.icmp_unsigned("==", last, integer(0)), DOUBLE(0.5), share)
    scaled = builder.fmul(builder.fadd(lowest, builder.fmul(rise, share)), DOUBLE(256.0))
    limit = builder.fptoui(scaled, INT64)
    rest = builder.fsub(scaled, builder.uitofp(limit, DOUBLE))
    more_limit = builder.fptoui(builder.fmul(rest, DOUBLE(2.0**64)), INT64)
    below = builder.icmp_unsigned("<", byte, limit)
    equal = builder.icmp_unsigned("==", byte, limit)
    late = builder.icmp_unsigned("<", one.more_bits(place), more_limit)
    kept = builder.or_(below, builder.and_(equal, late))
    builder.store(builder.zext(kept, INT8), at(builder, one.mask, place))
