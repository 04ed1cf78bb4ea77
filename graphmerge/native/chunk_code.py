"""Chunk code: what an op does with a whole chunk, before the loop that its result is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from llvmlite import ir

from graphmerge.native.loops import at, load_element
from graphmerge.native.types import (
    INT64,
    VECTOR_ELEMENTS,
    among_first,
    bits_type,
    splat,
    spread,
    vector_type,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.registry import Value
    from graphmerge.spec import DType


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
    """The instruction's arrays of a float64 per element, with room for a vector beyond."""
    copy: ir.Function
    """memcpy."""
    mask_bytes: Value
    """Where the instruction's mask goes: a byte per element, 0 or 1, or what it asked for."""
    chunk_value: Value
    """Memory of an integer that the instruction's vector code is given."""
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

    def between(self, index: Value, first: Value, last: Value) -> Value:
        """A bit for each element of the vector at an index: whether first <= |bits| <= last."""
        builder, kind = self.builder, vector_type(self.integer)
        bits = builder.load(at(builder, self.buffers[0], index, self.integer), align=64, typ=kind)
        all_but_sign = splat((1 << (self.integer.width - 1)) - 1, self.integer)
        sizes = builder.and_(bits, all_but_sign)
        low = builder.icmp_signed(">=", sizes, self._spread(first))  # sizes have no sign bit
        high = builder.icmp_signed("<=", sizes, self._spread(last))
        inside = among_first(builder, builder.sub(self.count, index))
        found = builder.and_(inside, builder.and_(low, high))
        return builder.bitcast(found, ir.IntType(VECTOR_ELEMENTS))

    def _spread(self, word: Value) -> Value:
        narrow = word if self.integer == INT64 else self.builder.trunc(word, self.integer)
        return spread(self.builder, narrow)
