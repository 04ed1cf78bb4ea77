"""Chunk code: what an op does with a whole chunk, before the loop that its result is for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.frozen_classes import frozen
from graphmerge.native.loops import at, integer, least, load_element, loop, variable
from graphmerge.native.types import (
    INT64,
    VECTOR_ELEMENTS,
    among_first,
    bits_type,
    splat,
    spread,
    spread_over,
    vector_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from graphmerge.native.registry import Value
    from graphmerge.spec import DType

COMPARED = 64
"""Elements that are compared at once where few of them are looked for."""


@frozen(eq=False)
class ChunkCode:
    """The place of one instruction before a loop."""

    builder: ir.IRBuilder
    """Emits before the loop."""
    buffers: Sequence[Value]
    """Addresses of the tensor inputs' values for this chunk, if the op asks for them."""
    dtypes: Sequence[DType]
    """Dtypes of the tensor inputs."""
    words: Sequence[Value]
    """The instruction's integers."""
    start: Value
    """Flat index of the chunk's first element."""
    count: Value
    """Elements of the chunk that lie within the tensor: 1024, but for the last chunk."""
    offset: Value
    """Index of the chunk's first element in the tile."""
    histogram: Value
    """The instruction's histogram, of 32-bit counts."""
    sums: Value
    """The instruction's own sums, float64, those of a block after those of the one before."""
    spread: Sequence[Value]
    """The instruction's arrays of a number per element, with room for a vector beyond."""
    copy: ir.Function
    """memcpy."""
    mask_bytes: Value
    """Where the instruction's mask goes: a byte per element, 0 or 1, or what it asked for."""
    chunk_value: Value
    """Memory of an integer that the instruction's vector code is given, if the op asks for it."""
    memory: Value
    """Memory of an integer that lasts from chunk to chunk, zero before a tile's first."""

    @property
    def integer(self) -> ir.IntType:
        """An integer as wide as an element of the first input."""
        return bits_type(self.dtypes[0])

    def magnitude(self, index: Value) -> Value:
        """The bits of |x| of an element of the first input, as 64 bits."""
        bits = load_element(self.builder, self.buffers[0], index, self.integer)
        all_but_sign = self.integer((1 << (self.integer.width - 1)) - 1)
        size = self.builder.and_(bits, all_but_sign)
        return size if size.type == INT64 else self.builder.zext(size, INT64)

    @contextmanager
    def pieces(self, row: Value) -> Iterator[tuple[Value, Value, Value]]:
        """A loop over the pieces of rows in the chunk: where each begins and ends, and its row."""
        builder = self.builder
        next_begin = variable(builder, integer(0))
        head, body, end = (builder.append_basic_block(name) for name in ("piece", "inside", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        begin = builder.load(next_begin, typ=INT64)
        builder.cbranch(builder.icmp_unsigned("<", begin, self.count), body, end)
        builder.position_at_end(body)
        number = builder.udiv(builder.add(self.start, begin), row)
        row_end = builder.sub(builder.mul(builder.add(number, integer(1)), row), self.start)
        stop = least(builder, row_end, self.count)
        yield begin, stop, number
        builder.store(stop, next_begin)
        builder.branch(head)
        builder.position_at_end(end)

    def fill(self, target: Value, begin: Value, end: Value, value: Value) -> None:
        """A value for the elements of a piece; also beyond its end, where the next one goes."""
        builder, wide = self.builder, spread(self.builder, value)
        with loop(builder, builder.sub(end, begin), VECTOR_ELEMENTS) as offset:
            place = at(builder, target, builder.add(begin, offset), value.type)
            builder.store(wide, place, align=4)

    def between(self, index: Value, first: Value, last: Value) -> Value:
        """A bit for each element of the vector at an index: whether first <= |bits| <= last."""
        builder, sizes = self.builder, self._magnitudes(index)
        low = builder.icmp_signed(">=", sizes, self._spread(first))  # sizes have no sign bit
        high = builder.icmp_signed("<=", sizes, self._spread(last))
        inside = among_first(builder, builder.sub(self.count, index))
        found = builder.and_(inside, builder.and_(low, high))
        return builder.bitcast(found, ir.IntType(VECTOR_ELEMENTS))

    def beginning_with(self, index: Value, words: Sequence[Value], below: int) -> list[Value]:
        """Which |bits| from an index on are, without the lowest `below`, one of the words.

        For each word a bit for each of COMPARED elements.
        """
        builder = self.builder
        kind = ir.VectorType(self.integer, COMPARED)
        bits = builder.load(at(builder, self.buffers[0], index, self.integer), align=64, typ=kind)
        all_but_sign, shift = (1 << (self.integer.width - 1)) - 1, self.integer(below)
        sizes = builder.and_(bits, kind([self.integer(all_but_sign)] * COMPARED))
        shifted = builder.lshr(sizes, kind([shift] * COMPARED))
        left = least(builder, builder.sub(self.count, index), integer(COMPARED))
        inside = builder.lshr(integer(-1), builder.sub(integer(COMPARED), left))
        alike = (
            builder.icmp_unsigned("==", shifted, spread_over(builder, self._narrow(word), kind))
            for word in words
        )
        return [builder.and_(builder.bitcast(one, INT64), inside) for one in alike]

    def _magnitudes(self, index: Value) -> Value:
        """The bits of |x| of the vector at an index."""
        kind = vector_type(self.integer)
        place = at(self.builder, self.buffers[0], index, self.integer)
        bits = self.builder.load(place, align=64, typ=kind)
        return self.builder.and_(bits, splat((1 << (self.integer.width - 1)) - 1, self.integer))

    def _spread(self, word: Value) -> Value:
        return spread(self.builder, self._narrow(word))

    def _narrow(self, word: Value) -> Value:
        return word if self.integer == INT64 else self.builder.trunc(word, self.integer)
