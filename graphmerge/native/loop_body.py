"""The body of a loop over the vectors of a chunk: values by number, loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.loops import at
from graphmerge.native.types import (
    ELEMENT_TYPES,
    EXPONENT_BITS,
    INT1,
    INT32,
    VECTOR_ELEMENTS,
    among_first,
    any_set,
    bits_type,
    splat,
    vector_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from graphmerge.native.registry import Value
    from graphmerge.spec import DType


class LoopBody:
    """What the instructions of one loop share.

    Args of the constructor:
        builder: Emits before the loop; within it once the loop is entered.
        dtypes: Dtype of every value: of instructions by number, of loads by negative numbers.
        places: Addresses of the loads, and of buffers that earlier loops have filled.
        count: Elements of the chunk that lie within the tensor.
        unchecked: Loads in which nobody has looked for NaN yet; those used here are taken out.
    """

    def __init__(
        self,
        builder: ir.IRBuilder,
        dtypes: Mapping[int, DType],
        places: Mapping[int, Value],
        count: Value,
        unchecked: set[int],
    ) -> None:
        self.builder = builder
        self.dtypes = dtypes
        self._places = places
        self._count = count
        self._unchecked = unchecked
        self._values: dict[int, Value] = {}
        self._seen: dict[int, Value] = {}
        self._failed: dict[int, Value] = {}
        self._counts: dict[tuple[int, int], Value] = {}

    def begin(self, index: Value) -> None:
        """Begin the body, at a vector of the chunk."""
        self.index = index
        self.inside = among_first(self.builder, self.builder.sub(self._count, index))

    def value(self, number: int) -> Value:
        """The vector of a value."""
        if number not in self._values:
            vector = self._load(number)
            self._values[number] = vector
            if number < 0 and number in self._unchecked and self.dtypes[number] in EXPONENT_BITS:
                self._unchecked.discard(number)
                self._look_for_nan(number, vector)
        return self._values[number]

    def set(self, number: int, vector: Value) -> None:
        """The result of an instruction."""
        self._values[number] = vector

    def store(self, number: int, pointer: Value) -> None:
        """Put a value into a buffer of the chunk, or into the output."""
        dtype = self.dtypes[number]
        place = at(self.builder, pointer, self.index, ELEMENT_TYPES[dtype])
        self.builder.store(self.value(number), place, align=max(dtype.bits // 8, 1))

    def look_for_nan(self, number: int) -> None:
        """Look for NaN and infinity in a value, if its dtype has them."""
        if self.dtypes[number] in EXPONENT_BITS:
            self._look_for_nan(number, self.value(number))

    def fail(self, step: int, condition: Value) -> None:
        """Report an instruction as failed where a truth value is set."""
        if step not in self._failed:
            self._failed[step] = self._outside(INT1(0))
        place = self._failed[step]
        self.builder.store(self.builder.or_(self.builder.load(place, typ=INT1), condition), place)

    def count(self, step: int, column: int, which: Value) -> None:
        """Count the elements where a truth value is set, for a column of an instruction's sums."""
        builder = self.builder
        place = self._counts[step, column] = self._outside(INT32(0))
        bits = builder.bitcast(which, ir.IntType(VECTOR_ELEMENTS))
        found = builder.zext(builder.ctpop(bits), INT32)
        builder.store(builder.add(builder.load(place, typ=INT32), found), place)

    def counts(self) -> Iterator[tuple[int, int, Value]]:
        """After the loop: instructions, columns, and what was counted."""
        for (step, column), place in self._counts.items():
            yield step, column, self.builder.load(place, typ=INT32)

    def failures(self) -> Iterator[tuple[int, Value]]:
        """After the loop: instructions and whether they have failed."""
        for step, place in self._failed.items():
            yield step, self.builder.load(place, typ=INT1)

    def checks(self) -> Iterator[tuple[int, Value]]:
        """After the loop: values and whether NaN or infinity was seen in them."""
        for number, place in self._seen.items():
            kind = vector_type(bits_type(self.dtypes[number]))
            seen = self.builder.load(place, typ=kind)
            yield number, any_set(self.builder, self.builder.icmp_unsigned("!=", seen, kind(None)))

    def _load(self, number: int) -> Value:
        dtype = self.dtypes[number]
        element = ELEMENT_TYPES[dtype]
        place = at(self.builder, self._places[number], self.index, element)
        return self.builder.load(place, align=max(dtype.bits // 8, 1), typ=vector_type(element))

    def _look_for_nan(self, number: int, vector: Value) -> None:
        builder, bits = self.builder, bits_type(self.dtypes[number])
        kind = vector_type(bits)
        place = self._seen[number] = self._outside(kind(None))
        exponent = splat(EXPONENT_BITS[self.dtypes[number]], bits)
        found = builder.icmp_unsigned(
            "==", builder.and_(builder.bitcast(vector, kind), exponent), exponent
        )
        held = builder.load(place, typ=kind)
        builder.store(builder.or_(held, builder.sext(found, kind)), place)

    def _outside(self, initial: Value) -> Value:
        """Memory that is initialised where the function begins."""
        with self.builder.goto_entry_block():
            place = self.builder.alloca(initial.type)
            self.builder.store(initial, place)
        return place
