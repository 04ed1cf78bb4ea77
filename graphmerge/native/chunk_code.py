"""Chunk code: what an op does with a whole chunk, before the loop that its result is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from graphmerge.native.loops import at, load_element
from graphmerge.native.types import INT64, any_set, bits_type, spread, vector_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llvmlite import ir

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
    histogram: Value
    """The instruction's histogram, of 32-bit counts."""
    mask_bytes: Value
    """Where the instruction's mask goes: a byte per element, 0 or 1."""
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

    def any_between(self, index: Value, first: Value, last: Value) -> Value:
        """Whether the vector at an index has a magnitude with first <= bits <= last."""
        builder, kind = self.builder, vector_type(self.integer)
        bits = builder.load(at(builder, self.buffers[0], index, self.integer), align=64, typ=kind)
        top = self._spread(builder.shl(INT64(1), INT64(self.integer.width - 1)))
        sizes = builder.and_(bits, builder.not_(top))
        low = builder.icmp_unsigned(">=", sizes, self._spread(first))
        high = builder.icmp_unsigned("<=", sizes, self._spread(last))
        return any_set(builder, builder.and_(low, high))

    def _spread(self, word: Value) -> Value:
        narrow = word if self.integer == INT64 else self.builder.trunc(word, self.integer)
        return spread(self.builder, narrow)
