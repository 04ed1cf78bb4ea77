"""Emit the histogram of a row's magnitudes, and what it says about ranks and random bytes.

Buckets follow each other as magnitudes do. They are cut for each row by its own range, so that they
are narrow: within an octave 32 of them for a row of normal numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.native.loops import at, clear, integer, load_element, loop, variable
from graphmerge.native.sorting import magnitude_of, magnitudes_at, reduced
from graphmerge.native.types import (
    FLOAT,
    INT1,
    INT8,
    INT16,
    INT32,
    INT64,
    VECTOR_ELEMENTS,
    running_sums,
    splat,
    spread,
    vector_type,
)
from graphmerge.ops.ranked import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from llvmlite import ir

    from graphmerge.native.registry import Value

    Spread: TypeAlias = Callable[[ir.IRBuilder, Value], Value]

_PARTS = 4
"""A row is counted in so many parts, in turn: equal magnitudes need not wait for each other."""
_AT_ONCE = 8
_PART_BYTES = 4 * BUCKETS
_OCTAVE = 1 << 23
_FINE_RANGE = 0x03F00000
"""7.9 octaves below the largest magnitudes: most of what normal numbers have. Rows that have a few
more are cut as finely there, with smaller ones in one bucket."""
_WIDE_RANGE = 9 * _OCTAVE
"""Rows that have more than this have wider buckets."""
_SHORT = 512
"""Rows below this length get fewer buckets, which cost time for each row."""
_SHORT_BITS, _LONG_BITS = 6, 8
_MARGIN = 0.01
"""What float32 may be wrong by, and much more, in units of a byte."""
_NARROW = vector_type(INT32)
UNKNOWN, MIXED, EQUAL = INT32(0), INT32(1), INT32(2)
"""What may be noted of a bucket's magnitudes after a scatter."""


@frozen(eq=False)
class Cut:
    """How a row is cut into buckets: magnitudes below `low` are in bucket 0."""

    below: Value
    """The number before `low`."""
    high: Value
    """Magnitudes above are in the bucket of this one."""
    shift: Value
    """How many bits are below those that tell one bucket from the next."""
    end: Value
    """How many buckets may have anything in them, rounded up to vectors; 64 bits."""


@frozen(eq=False)
class Buckets:
    """The buckets of a row, in memory of `BUCKET_BYTES`, and the bucket of each entry, a byte."""

    builder: ir.IRBuilder
    memory: Value
    ids: Value

    @property
    def _limits(self) -> Value:
        """Two bytes per bucket, see `look_up`."""
        return at(self.builder, self.memory, integer(_PARTS * _PART_BYTES))

    @property
    def begins(self) -> Value:
        """How many entries are in buckets below, 32 bits; one more than there are buckets."""
        return at(self.builder, self.memory, integer((_PARTS + 1) * _PART_BYTES))

    @property
    def _notes(self) -> Value:
        """Memory of a number of 32 bits per bucket."""
        return at(self.builder, self.memory, integer((_PARTS + 2) * _PART_BYTES + 64))

    def of(self, place: Value) -> Value:
        """The bucket of an entry."""
        return self.builder.zext(load_element(self.builder, self.ids, place, INT8), INT64)

    def range_of(self, bucket: Value) -> tuple[Value, Value]:
        """The ranks of a bucket, from the first to the one behind the last."""
        following = self.builder.add(bucket, integer(1))
        found = [load_element(self.builder, self.begins, x, INT32) for x in (bucket, following)]
        first, end = (self.builder.zext(value, INT64) for value in found)
        return first, end

    def look_up(self, row: Value, target: Value) -> None:
        """For each entry two bytes: drawn ones below the first are kept, above the second dropped.

        One load after the other is faster than gathering them by vectors.
        """
        builder = self.builder
        with loop(builder, row, _AT_ONCE) as index:
            several = builder.load(at(builder, self.ids, index), align=1, typ=INT64)
            for number in range(_AT_ONCE):
                bucket = builder.and_(builder.lshr(several, integer(8 * number)), integer(0xFF))
                limits = load_element(builder, self._limits, bucket, INT16)
                place = builder.add(index, integer(number))
                builder.store(limits, at(builder, target, place, INT16))

    def differ(self, row: Value) -> Value:
        """Whether rows of this length have buckets of their own; else all entries are in one."""
        return self.builder.icmp_unsigned(">=", row, integer(VECTOR_ELEMENTS))

    def fill(self, values: Value, row: Value, slope: Sequence[Value]) -> None:
        """Take in a row.

        Args:
            values: Address of its float32 values.
            row: How many.
            slope: 256 times the probability of keeping the lowest rank, and its rise from one rank
                to the next; float32.
        """
        cut = _cut(self.builder, values, row)
        for part in range(_PARTS):
            clear(self.builder, self._numbers(part), self.builder.shl(cut.end, integer(2)))
        self._find_ids(values, row, cut)
        self._count(row)
        self._find_limits(cut.end, slope)

    def scatter(self, values: Value, row: Value, keys: Value, positions: Value) -> None:
        """The magnitudes of the row bucket by bucket, in order; and where each of them is there.

        Both are of 32 bits. What is noted of buckets is unknown then.
        """
        builder = self.builder
        part = _part(builder, row)

        def move(place: Value, number: int) -> None:
            position = self._next(self.of(place), number)
            builder.store(position, at(builder, positions, place, INT32))
            key = at(builder, keys, builder.zext(position, INT64), INT32)
            builder.store(magnitude_of(builder, values, place), key)

        with loop(builder, part) as index:
            for number in range(_PARTS):
                move(builder.add(builder.mul(part, integer(number)), index), number)
        done = builder.mul(part, integer(_PARTS))
        with loop(builder, builder.sub(row, done)) as offset:
            move(builder.add(done, offset), _PARTS - 1)
        clear(builder, self._notes, integer(_PART_BYTES))

    def note_of(self, bucket: Value) -> Value:
        """What is noted of a bucket."""
        return load_element(self.builder, self._notes, bucket, INT32)

    def note(self, bucket: Value, what: Value) -> None:
        """Note something of it."""
        self.builder.store(what, at(self.builder, self._notes, bucket, INT32))

    def _find_ids(self, values: Value, row: Value, cut: Cut) -> None:
        builder = self.builder
        whole = builder.and_(row, integer(-VECTOR_ELEMENTS))
        with loop(builder, whole, VECTOR_ELEMENTS) as index:
            ids = _bucket(builder, magnitudes_at(builder, values, index), cut, spread)
            narrow = builder.trunc(ids, vector_type(INT8))
            builder.store(narrow, at(builder, self.ids, index), align=1)
        with loop(builder, builder.sub(row, whole)) as offset:
            index = builder.add(whole, offset)
            found = _bucket(builder, magnitude_of(builder, values, index), cut, lambda _, x: x)
            builder.store(builder.trunc(found, INT8), at(builder, self.ids, index))

    def _count(self, row: Value) -> None:
        builder = self.builder
        part = _part(builder, row)
        with loop(builder, part, _AT_ONCE) as index:
            parts = [builder.add(builder.mul(part, integer(i)), index) for i in range(_PARTS)]
            several = [builder.load(at(builder, self.ids, x), align=1, typ=INT64) for x in parts]
            for number in range(_AT_ONCE):
                for histogram, ids in enumerate(several):
                    bucket = builder.and_(builder.lshr(ids, integer(8 * number)), integer(0xFF))
                    self._next(bucket, histogram)
        done = builder.mul(part, integer(_PARTS))
        with loop(builder, builder.sub(row, done)) as offset:
            self._next(self.of(builder.add(done, offset)), _PARTS - 1)

    def _next(self, bucket: Value, part: int) -> Value:
        """The number of a bucket for a part of the row, which goes on by one."""
        place = at(self.builder, self._numbers(part), bucket, INT32)
        number = self.builder.load(place, typ=INT32)
        self.builder.store(self.builder.add(number, INT32(1)), place)
        return number

    def _numbers(self, part: int) -> Value:
        """For a part of the row: counts, and later where its next entry goes, of each bucket."""
        return at(self.builder, self.memory, integer(part * _PART_BYTES))

    def _find_limits(self, end: Value, slope: Sequence[Value]) -> None:
        """Where each bucket begins, for each part, too; and which bytes are kept or dropped."""
        builder = self.builder
        total = variable(builder, INT32(0))
        with loop(builder, end, VECTOR_ELEMENTS) as index:
            places = [at(builder, self._numbers(i), index, INT32) for i in range(_PARTS)]
            counts = [builder.load(place, align=64, typ=_NARROW) for place in places]
            both = builder.add(builder.add(*counts[:2]), builder.add(*counts[2:]))
            until = running_sums(builder, both)
            until = builder.add(until, spread(builder, builder.load(total, typ=INT32)))
            first = cursor = builder.sub(until, both)
            builder.store(first, at(builder, self.begins, index, INT32), align=64)
            for place, count in zip(places, counts, strict=True):
                builder.store(cursor, place, align=64)
                cursor = builder.add(cursor, count)
            builder.store(builder.extract_element(until, INT32(VECTOR_ELEMENTS - 1)), total)
            last = builder.sub(until, splat(1, INT32))
            surely, possibly = (
                _byte_limit(builder, rank, slope, margin)
                for rank, margin in ((first, -_MARGIN), (last, _MARGIN))
            )
            both = builder.or_(surely, builder.shl(possibly, splat(8, INT32)))
            narrow = builder.trunc(both, vector_type(INT16))
            builder.store(narrow, at(builder, self._limits, index, INT16), align=32)
        builder.store(builder.load(total, typ=INT32), at(builder, self.begins, end, INT32))


def _part(builder: ir.IRBuilder, row: Value) -> Value:
    """Entries of each part of a row but the last, which has what is left as well."""
    return builder.and_(builder.udiv(row, integer(_PARTS)), integer(-_AT_ONCE))


def _cut(builder: ir.IRBuilder, values: Value, row: Value) -> Cut:
    """Buckets for the range of most magnitudes of a row; the last one takes those above."""
    least, usual_least, high = _usual_range(builder, values, row)
    fine = builder.sub(high, lesser(builder, high, INT32(_FINE_RANGE)))
    is_wide = builder.icmp_unsigned(">", builder.sub(high, usual_least), INT32(_WIDE_RANGE))
    low = builder.select(is_wide, usual_least, greater(builder, least, fine))
    low = greater(builder, low, INT32(1))
    is_any = builder.icmp_unsigned(">=", high, low)
    span = builder.select(is_any, builder.sub(high, low), INT32(0))
    more = builder.add(span, builder.lshr(span, INT32(6)))  # bucket 0 and the last need room
    zeros = builder.ctlz(more, INT1(0))
    width = builder.sub(INT32(32), zeros)
    is_short = builder.icmp_unsigned("<", row, integer(_SHORT))
    bits = builder.select(is_short, INT32(_SHORT_BITS), INT32(_LONG_BITS))
    is_wider = builder.icmp_unsigned(">", width, bits)
    shift = builder.select(is_wider, builder.sub(width, bits), INT32(0))
    last = builder.add(builder.lshr(span, shift), INT32(1))
    end = builder.and_(builder.add(last, INT32(VECTOR_ELEMENTS)), INT32(-VECTOR_ELEMENTS))
    return Cut(builder.sub(low, INT32(1)), high, shift, builder.zext(end, INT64))


def _bucket(builder: ir.IRBuilder, magnitude: Value, cut: Cut, spread_out: Spread) -> Value:
    """0 below the range, else 1 and on."""
    below, high, shift = (spread_out(builder, x) for x in (cut.below, cut.high, cut.shift))
    one = spread_out(builder, INT32(1))
    capped = lesser(builder, magnitude, high)
    is_above = builder.icmp_unsigned(">", capped, below)
    over = builder.sub(capped, builder.add(below, one))
    found = builder.add(builder.lshr(over, shift), one)
    return builder.select(is_above, found, magnitude.type(None))


def _byte_limit(builder: ir.IRBuilder, rank: Value, slope: Sequence[Value], margin: float) -> Value:
    """About where the byte of a rank is cut, for a vector of ranks."""
    lowest, rise = (spread(builder, value) for value in slope)
    exact = builder.fadd(lowest, builder.fmul(builder.sitofp(rank, vector_type(FLOAT)), rise))
    moved = builder.fadd(exact, splat(margin, FLOAT))
    for limit, when in ((0.0, "<"), (255.0, ">")):
        bound = splat(limit, FLOAT)
        moved = builder.select(builder.fcmp_ordered(when, moved, bound), bound, moved)
    return builder.fptoui(moved, _NARROW)


def _usual_range(builder: ir.IRBuilder, values: Value, row: Value) -> tuple[Value, Value, Value]:
    """The least magnitude that is not zero, about where usual ones begin, and where they end.

    Usual is what every lane of a vector has seen: a few outliers do not matter.
    """
    leasts, mosts = variable(builder, splat(-1, INT32)), variable(builder, _NARROW(None))
    whole = builder.and_(row, integer(-VECTOR_ELEMENTS))
    with loop(builder, whole, VECTOR_ELEMENTS) as index:
        sizes = magnitudes_at(builder, values, index)
        before = builder.sub(sizes, splat(1, INT32))  # so that zeros are the largest of all
        builder.store(lesser(builder, before, builder.load(leasts, typ=_NARROW)), leasts)
        builder.store(greater(builder, sizes, builder.load(mosts, typ=_NARROW)), mosts)
    lanes = [builder.load(place, typ=_NARROW) for place in (leasts, mosts)]
    least, some_least = (reduced(builder, how, lanes[0]) for how in ("umin", "umax"))
    most, some_most = (reduced(builder, how, lanes[1]) for how in ("umax", "umin"))
    is_long = builder.icmp_unsigned(">=", row, integer(_SHORT))
    has_all = builder.icmp_unsigned(">", some_most, INT32(0))
    above = lesser(builder, most, builder.add(some_most, INT32(_OCTAVE)))
    high = builder.select(builder.and_(is_long, has_all), above, most)
    usual = builder.select(builder.icmp_unsigned("<", some_least, high), some_least, least)
    one = INT32(1)
    return builder.add(least, one), builder.add(usual, one), high


def lesser(builder: ir.IRBuilder, a: Value, b: Value) -> Value:
    """The smaller of unsigned numbers."""
    return builder.select(builder.icmp_unsigned("<", a, b), a, b)


def greater(builder: ir.IRBuilder, a: Value, b: Value) -> Value:
    """The larger of unsigned numbers."""
    return builder.select(builder.icmp_unsigned(">", a, b), a, b)
