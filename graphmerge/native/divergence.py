"""Emit the function that takes the divergences of rows: see `graphmerge.ops.importance`.

    int64 row_divergences(first, second, files, memory, results, seen, row, rows, at_once)

`files` says which inputs are read first, `at_once` rows at a time; the result is 0, or 1 and the
number of the input that could not be read. `results` has two float64 for each row, of which the
second one is filled. `seen` are two sets of 64 bits, not zero where NaN or infinity was seen in the
first and in the second input. Rows are put into `memory` as float64, filled up to whole vectors
with what adds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.frozen_classes import frozen
from graphmerge.native.elementary import exp, log_of_ratio
from graphmerge.native.file_reading import block_of, emit_read
from graphmerge.native.loops import at, integer, least, load_element, loop, variable
from graphmerge.native.near_rows import NOT_NEAR, emit_near_rows
from graphmerge.native.types import (
    DOUBLE,
    ELEMENT_TYPES,
    EXPONENT_BITS,
    INT1,
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
from graphmerge.ops.importance import FLOOR, ROW_LANES
from graphmerge.spec import DType

if TYPE_CHECKING:
    from graphmerge.native.registry import Value

assert ROW_LANES == VECTOR_ELEMENTS, "a vector holds the lanes of a sum"

_VOID = ir.VoidType()
_DOUBLES, _INTEGERS = vector_type(DOUBLE), vector_type(INT64)


def emit_row_divergences(dtypes: tuple[DType, ...], *, single: bool) -> ir.Module:
    """The module with the function, for inputs of these dtypes.

    Args:
        dtypes: As they are stored.
        single: Whether the values are float32's, and those of rows near each other are computed in
            it.
    """
    module = ir.Module("divergence")
    near = emit_near_rows(module, dtypes) if single else None
    powers = {dtype: _emit_powers(module, dtype) for dtype in dict.fromkeys(dtypes)}
    divergence = _emit_divergence(module)
    function_type = ir.FunctionType(_VOID, [POINTER] * 5 + [INT64] * 2)
    function = ir.Function(module, function_type, "divergences_in_memory")
    function.linkage = "internal"
    *inputs, memory, results, seen, row, rows = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    padded = _whole_vectors(builder, builder.add(row, integer(VECTOR_ELEMENTS - 1)))
    places = [memory, at(builder, memory, padded, DOUBLE)]
    with loop(builder, rows) as number:
        first = builder.mul(number, row)
        begins = [
            at(builder, values, first, ELEMENT_TYPES[dtype])
            for values, dtype in zip(inputs, dtypes, strict=True)
        ]
        place = at(builder, results, builder.add(builder.add(number, number), integer(1)), DOUBLE)
        is_far = INT1(1)
        if near is not None:
            found = builder.call(near, [*begins, memory, row])
            builder.store(found, place)
            is_far = builder.fcmp_ordered("==", found, NOT_NEAR)
        with builder.if_then(is_far):
            shares = []
            for index, (begin, dtype) in enumerate(zip(begins, dtypes, strict=True)):
                flag = at(builder, seen, integer(index), INT64)
                shares.append(builder.call(powers[dtype], [begin, places[index], flag, row]))
            builder.store(builder.call(divergence, [*places, *shares, padded]), place)
    builder.ret_void()
    _emit_reading(module, function, dtypes)
    return module


def _emit_reading(module: ir.Module, in_memory: ir.Function, dtypes: tuple[DType, ...]) -> None:
    """Emit the function that is called, which reads some rows and has their divergences taken."""
    read = emit_read(module)
    function_type = ir.FunctionType(INT64, [POINTER] * 6 + [INT64] * 3)
    function = ir.Function(module, function_type, "row_divergences")
    *inputs, files, memory, results, seen, row, rows, at_once = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    with loop(builder, rows, at_once) as before:
        count = least(builder, builder.sub(rows, before), at_once)
        blocks = []
        for number, (pointer, dtype) in enumerate(zip(inputs, dtypes, strict=True)):
            row_bytes = builder.mul(row, integer(dtype.bits // 8))
            ends = [builder.mul(some, row_bytes) for some in (before, count)]
            blocks.append(block_of(builder, read, files, number, pointer, *ends))
        place = at(builder, results, builder.mul(before, integer(2)), DOUBLE)
        builder.call(in_memory, [*blocks, memory, place, seen, row, count])
    builder.ret(integer(0))


def _emit_powers(module: ir.Module, dtype: DType) -> ir.Function:
    """double powers(values, place, seen, row): exp(x - m) of a row; 1 over the sum of them."""
    function_type = ir.FunctionType(DOUBLE, [POINTER] * 3 + [INT64])
    function = ir.Function(module, function_type, f"powers_{dtype.value.lower()}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    values, place, seen, row = function.args
    one = _Row(ir.IRBuilder(function.append_basic_block("entry")), values, place, row, dtype)
    largest = one.widen(seen)
    builder = one.builder
    sums = variable(builder, _DOUBLES(None))
    with loop(builder, row, VECTOR_ELEMENTS) as index:
        power = exp(builder, builder.fsub(one.load(index), spread(builder, largest)))
        one.store(index, power)
        builder.store(builder.fadd(builder.load(sums, typ=_DOUBLES), power), sums)
    total = folded(builder, builder.load(sums, typ=_DOUBLES))
    builder.ret(builder.fdiv(DOUBLE(1.0), total))
    return function


@frozen(eq=False)
class _Row:
    """The code of one row of one input."""

    builder: ir.IRBuilder
    values: Value
    place: Value
    """Where it goes in float64."""
    row: Value
    dtype: DType

    def widen(self, seen: Value) -> Value:
        """Put the row where it goes, filled up with -infinity; the largest entry, if not NaN."""
        builder = self.builder
        largest = variable(builder, splat(float("-inf"), DOUBLE))
        found = variable(builder, _INTEGERS(None))
        whole = _whole_vectors(builder, self.row)
        with loop(builder, whole, VECTOR_ELEMENTS) as index:
            wide = self._widened(at(builder, self.values, index, self._element))
            self._look_at(wide, largest, found)
            self.store(index, wide)
        rest = builder.sub(self.row, whole)
        with builder.if_then(builder.icmp_unsigned("!=", rest, integer(0))):
            wide = self._widened(self._rest(whole, rest))
            self._look_at(wide, largest, found)
            inside = among_first(builder, rest)
            self.store(whole, builder.select(inside, wide, splat(float("-inf"), DOUBLE)))
        bad = builder.icmp_unsigned("!=", builder.load(found, typ=_INTEGERS), _INTEGERS(None))
        with builder.if_then(any_set(builder, bad), likely=False):
            builder.store(integer(1), seen)
        return folded(builder, builder.load(largest, typ=_DOUBLES), _larger)

    def load(self, index: Value) -> Value:
        """A vector of the row in float64."""
        return self.builder.load(self._at(index), align=64, typ=_DOUBLES)

    def store(self, index: Value, vector: Value) -> None:
        """Put a vector in its place."""
        self.builder.store(vector, self._at(index), align=64)

    @property
    def _element(self) -> ir.Type:
        return ELEMENT_TYPES[self.dtype]

    def _at(self, index: Value) -> Value:
        return at(self.builder, self.place, index, DOUBLE)

    def _widened(self, place: Value) -> Value:
        kind = vector_type(self._element)
        loaded = self.builder.load(place, align=self.dtype.bits // 8, typ=kind)
        return convert(self.builder, loaded, self.dtype, DType.F64)

    def _rest(self, whole: Value, rest: Value) -> Value:
        """What follows the whole vectors, filled up with the first entry, where it is to go."""
        builder, element = self.builder, self._element
        first = load_element(builder, self.values, integer(0), element)
        copy = self._at(whole)
        builder.store(spread(builder, first), copy, align=64)
        with loop(builder, rest) as offset:
            one = load_element(builder, self.values, builder.add(whole, offset), element)
            builder.store(one, at(builder, copy, offset, element))
        return copy

    def _look_at(self, wide: Value, largest: Value, found: Value) -> None:
        builder = self.builder
        builder.store(_larger(builder, wide, builder.load(largest, typ=_DOUBLES)), largest)
        exponent = splat(EXPONENT_BITS[DType.F64], INT64)
        bits = builder.and_(builder.bitcast(wide, _INTEGERS), exponent)
        is_bad = builder.sext(builder.icmp_unsigned("==", bits, exponent), _INTEGERS)
        builder.store(builder.or_(builder.load(found, typ=_INTEGERS), is_bad), found)


def _emit_divergence(module: ir.Module) -> ir.Function:
    """double divergence(first, second, share, share, padded): of rows of exp(x - m)."""
    arguments = [POINTER, POINTER, DOUBLE, DOUBLE, INT64]
    function = ir.Function(module, ir.FunctionType(DOUBLE, arguments), "divergence")
    function.linkage = "internal"
    function.attributes.add("noinline")
    *places, first, second, padded = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    sums = variable(builder, _DOUBLES(None))
    shares = [spread(builder, share) for share in (first, second)]
    with loop(builder, padded, VECTOR_ELEMENTS) as index:
        loaded = [
            builder.load(at(builder, place, index, DOUBLE), align=64, typ=_DOUBLES)
            for place in places
        ]
        p, q = (
            builder.fadd(builder.fmul(power, share), splat(FLOOR, DOUBLE))
            for power, share in zip(loaded, shares, strict=True)
        )
        term = builder.fmul(log_of_ratio(builder, p, q), p)
        term = builder.fsub(term, builder.fsub(p, q))
        builder.store(builder.fadd(builder.load(sums, typ=_DOUBLES), term), sums)
    total = folded(builder, builder.load(sums, typ=_DOUBLES))
    is_below = builder.fcmp_ordered("<", total, DOUBLE(0.0))
    builder.ret(builder.select(is_below, DOUBLE(0.0), total))
    return function


def _whole_vectors(builder: ir.IRBuilder, elements: Value) -> Value:
    return builder.and_(elements, integer(-VECTOR_ELEMENTS))


def _larger(builder: ir.IRBuilder, a: Value, b: Value) -> Value:
    """The larger one; B where A is NaN."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)
