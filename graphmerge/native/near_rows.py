"""Emit the function that takes the divergence of a row near another: `graphmerge.ops.near_rows`.

    double near(first, second, memory, row)

A divergence, or NOT_NEAR. `memory` holds what the second loop needs of the first: the row's powers,
then its changes, float32, filled up to whole vectors with what adds nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.elementary import polynomial
from graphmerge.native.loops import at, integer, least, load_element, loop, variable
from graphmerge.native.types import (
    DOUBLE,
    ELEMENT_TYPES,
    FLOAT,
    INT32,
    INT64,
    POINTER,
    VECTOR_ELEMENTS,
    among_first,
    any_set,
    convert,
    folded,
    splat,
    spread,
    vector_type,
)
from graphmerge.ops.near_rows import (
    CHANGE,
    CHANGE_COEFFICIENTS,
    EXP_COEFFICIENTS,
    EXPONENT_SHIFT,
    LARGEST,
    LEAST,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    LOG_COEFFICIENTS,
    ROUNDING,
    SEGMENT_ELEMENTS,
    TWICE_FLOOR,
)
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.native.registry import Value

NOT_NEAR = DOUBLE(-1.0)
"""No divergence is below 0."""
_SINGLES, _DOUBLES, _BITS = (vector_type(kind) for kind in (FLOAT, DOUBLE, INT32))
_ALL_BUT_SIGN = 0x7FFFFFFF


def emit_near_rows(module: ir.Module, dtypes: tuple[DType, ...]) -> ir.Function:
    """The function for rows that are stored in these dtypes."""
    function_type = ir.FunctionType(DOUBLE, [POINTER] * 3 + [INT64])
    function = ir.Function(module, function_type, "near")
    function.linkage = "internal"
    function.attributes.add("noinline")
    row = _NearRow(function, dtypes)
    builder, totals = row.builder, row.first_loop()
    with builder.if_then(row.is_far(), likely=False):
        builder.ret(NOT_NEAR)
    builder.ret(row.second_loop(*totals))
    return function


class _NearRow:
    """The code of a row."""

    def __init__(self, function: ir.Function, dtypes: tuple[DType, ...]) -> None:
        *self._inputs, self._powers, self._row = function.args
        self._dtypes = dtypes
        self.builder = builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._whole = builder.and_(self._row, integer(-VECTOR_ELEMENTS))
        padded = builder.add(self._row, integer(VECTOR_ELEMENTS - 1))
        self._padded = builder.and_(padded, integer(-VECTOR_ELEMENTS))
        self._changes = at(builder, self._powers, self._padded, FLOAT)
        self._largest = [variable(builder, _BITS(None)) for _ in range(2)]

    def first_loop(self) -> list[Value]:
        """Put powers and changes where they go; the sum of powers, and that of their changes."""
        builder = self.builder
        rest = builder.sub(self._row, self._whole)
        lanes = [variable(builder, _DOUBLES(None)) for _ in range(2)]
        with self._segments(self._row, self._whole, lanes) as (begin, count, sums):
            with loop(builder, count, VECTOR_ELEMENTS) as offset:
                index = builder.add(begin, offset)
                self._entries([self._stored(place, index) for place in (0, 1)], index, sums)
            is_last = builder.icmp_unsigned("<", count, integer(SEGMENT_ELEMENTS))
            has_rest = builder.icmp_unsigned("!=", rest, integer(0))
            with builder.if_then(builder.and_(is_last, has_rest), likely=False):
                stored = [self._stored_rest(place, rest) for place in (0, 1)]
                self._entries(stored, self._whole, sums, among_first(builder, rest))
        return [folded(builder, builder.load(place, typ=_DOUBLES)) for place in lanes]

    def is_far(self) -> Value:
        """Whether an entry or the square of a change is too large, or no number.

        Bits are compared, which are ordered like numbers that are not below 0, NaN above all.
        """
        builder = self.builder
        above = [
            builder.icmp_unsigned(
                ">", builder.load(place, typ=_BITS), builder.bitcast(splat(most, FLOAT), _BITS)
            )
            for place, most in zip(self._largest, (LARGEST, CHANGE**2), strict=True)
        ]
        return any_set(builder, builder.or_(*above))

    def second_loop(self, whole: Value, with_change: Value) -> Value:
        """The divergence, given both sums."""
        builder = self.builder
        tuned = builder.fadd(whole, with_change)
        ratio = builder.fmul(DOUBLE(2.0), builder.fdiv(tuned, whole))
        floor = builder.fmul(DOUBLE(TWICE_FLOOR), tuned)
        mean = builder.fdiv(with_change, whole)
        rounded = [builder.fptrunc(number, FLOAT) for number in (ratio, floor, mean)]
        spreads = [spread(builder, number) for number in rounded]
        lanes = [variable(builder, _DOUBLES(None))]
        with (
            self._segments(self._padded, self._padded, lanes) as (begin, count, sums),
            loop(builder, count, VECTOR_ELEMENTS) as offset,
        ):
            index = builder.add(begin, offset)
            power, change = (
                builder.load(at(builder, place, index, FLOAT), align=64, typ=_SINGLES)
                for place in (self._powers, self._changes)
            )
            self._add(sums[0], self._term(power, change, *spreads))
        total = folded(builder, builder.load(lanes[0], typ=_DOUBLES))
        undone = builder.fdiv(builder.fpext(rounded[0], DOUBLE), ratio)
        found = builder.fmul(builder.fdiv(total, tuned), undone)
        least = builder.fmul(DOUBLE(LEAST), builder.fmul(mean, mean))
        is_noise = builder.fcmp_ordered("<", found, least)
        return builder.select(is_noise, DOUBLE(0.0), found)

    @contextmanager
    def _segments(
        self, end: Value, whole: Value, lanes: list[Value]
    ) -> Iterator[tuple[Value, Value, list[Value]]]:
        """A loop over segments; gives the begin, entries in whole vectors, and places of sums."""
        builder = self.builder
        with loop(builder, end, SEGMENT_ELEMENTS) as begin:
            count = least(builder, builder.sub(whole, begin), integer(SEGMENT_ELEMENTS))
            sums = [variable(builder, _SINGLES(None)) for _ in lanes]
            yield begin, count, sums
            for total, part in zip(lanes, sums, strict=True):
                wide = builder.fpext(builder.load(part, typ=_SINGLES), _DOUBLES)
                builder.store(builder.fadd(builder.load(total, typ=_DOUBLES), wide), total)

    def _stored(self, number: int, index: Value) -> Value:
        """A vector of an input."""
        dtype = self._dtypes[number]
        place = at(self.builder, self._inputs[number], index, ELEMENT_TYPES[dtype])
        kind = vector_type(ELEMENT_TYPES[dtype])
        return self.builder.load(place, align=dtype.bits // 8, typ=kind)

    def _stored_rest(self, number: int, rest: Value) -> Value:
        """What follows the whole vectors, filled up with zeros where its result is to go."""
        builder, element = self.builder, ELEMENT_TYPES[self._dtypes[number]]
        copy = at(builder, (self._powers, self._changes)[number], self._whole, FLOAT)
        builder.store(vector_type(element)(None), copy, align=64)
        with loop(builder, rest) as offset:
            index = builder.add(self._whole, offset)
            one = load_element(builder, self._inputs[number], index, element)
            builder.store(one, at(builder, copy, offset, element))
        return builder.load(copy, align=64, typ=vector_type(element))

    def _entries(
        self, stored: list[Value], index: Value, sums: list[Value], inside: Value | None = None
    ) -> None:
        """Powers and changes of a vector of both inputs."""
        builder = self.builder
        first, second = (
            convert(builder, vector, dtype, DType.F32)
            for vector, dtype in zip(stored, self._dtypes, strict=True)
        )
        change = builder.fsub(first, second)
        square = builder.fmul(change, change)
        size = builder.and_(builder.bitcast(second, _BITS), splat(_ALL_BUT_SIGN, INT32))
        for place, bits in zip(self._largest, (size, builder.bitcast(square, _BITS)), strict=True):
            held = builder.load(place, typ=_BITS)
            larger = builder.icmp_unsigned(">", bits, held)
            builder.store(builder.select(larger, bits, held), place)
        power, change = _exp(builder, second), _less_one(builder, change, square)
        if inside is not None:
            power = builder.select(inside, power, _number(0.0))
        for place, x in ((self._powers, power), (self._changes, change)):
            builder.store(x, at(builder, place, index, FLOAT), align=64)
        self._add(sums[0], power)
        self._add(sums[1], builder.fmul(power, change))

    def _term(self, power: Value, change: Value, ratio: Value, floor: Value, mean: Value) -> Value:
        """What a vector adds to the divergence."""
        builder = self.builder
        moved = builder.fmul(power, builder.fsub(change, mean))
        both = builder.fadd(builder.fmul(power, ratio), floor)
        part = builder.fdiv(moved, builder.fadd(both, moved))
        square = builder.fmul(part, part)
        value = polynomial(builder, LOG_COEFFICIENTS, square)
        value = builder.fmul(value, builder.fadd(square, part))
        term = builder.fmul(moved, part)
        return builder.fadd(term, builder.fmul(value, term))

    def _add(self, place: Value, x: Value) -> None:
        self.builder.store(self.builder.fadd(self.builder.load(place, typ=_SINGLES), x), place)


def _exp(builder: ir.IRBuilder, x: Value) -> Value:
    """e^x."""
    shifted = builder.fadd(builder.fmul(x, _number(LOG2_E)), _number(ROUNDING))
    whole = builder.fsub(shifted, _number(ROUNDING))
    rest = builder.fsub(x, builder.fmul(whole, _number(LN2_HIGH)))
    rest = builder.fsub(rest, builder.fmul(whole, _number(LN2_LOW)))
    value = polynomial(builder, EXP_COEFFICIENTS, rest)
    value = builder.fadd(builder.fmul(value, builder.fmul(rest, rest)), rest)
    bits = builder.shl(builder.bitcast(shifted, _BITS), splat(EXPONENT_SHIFT, INT32))
    return builder.fmul(builder.fadd(value, _number(1.0)), builder.bitcast(bits, _SINGLES))


def _less_one(builder: ir.IRBuilder, change: Value, square: Value) -> Value:
    """e^d - 1."""
    value = polynomial(builder, CHANGE_COEFFICIENTS, change)
    return builder.fadd(builder.fmul(value, square), change)


def _number(value: float) -> Value:
    return splat(value, FLOAT)
