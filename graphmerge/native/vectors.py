"""Native code of inner products and combinations of the vectors of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.arrays import address_of
from graphmerge.native.loops import at, integer, load_element, loop, variable
from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import (
    DOUBLE,
    ELEMENT_TYPES,
    INT1,
    VECTOR_ELEMENTS,
    among_first,
    convert,
    folded,
    splat,
    vector_type,
)
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.vectors import VECTOR_CHUNK, VECTOR_LANES, ColumnGram, CombineVectors, RowGram
from graphmerge.schedule.fusion import CHUNK_ELEMENTS
from graphmerge.spec import DType
from graphmerge.statistics.sums import pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.chunk_code import ChunkCode
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic

assert VECTOR_LANES == VECTOR_ELEMENTS, "a lane for each element of a vector"
assert VECTOR_CHUNK == CHUNK_ELEMENTS, "pieces of rows end where chunks do"

_WIDE = vector_type(DOUBLE)


def _row_gram(op: RowGram, code: ChunkCode) -> None:
    """Add up every piece of a row in the chunk, for every pair, and add it to the row's sum."""
    builder, (row, slots) = code.builder, code.words
    in_block = builder.and_(code.offset, integer(BLOCK_ELEMENTS - 1))
    first_row = builder.udiv(builder.sub(code.start, in_block), row)
    with code.pieces(row) as (begin, end, number):
        lanes = [variable(builder, _WIDE(None)) for _ in pairs(len(code.buffers))]
        with loop(builder, builder.sub(end, begin), VECTOR_ELEMENTS) as offset:
            place = builder.add(begin, offset)
            inside = among_first(builder, builder.sub(end, place))
            wide = [
                builder.select(inside, x, splat(0.0, DOUBLE)) for x in _wide_vectors(code, place)
            ]
            for held, (i, j) in zip(lanes, pairs(len(wide)), strict=True):
                product = builder.fmul(wide[i], wide[j])
                builder.store(builder.fadd(builder.load(held, typ=_WIDE), product), held)
        slot = builder.sub(number, first_row)
        for pair, held in enumerate(lanes):
            where = _sum_place(code, pair, len(lanes), slots, slot)
            total = folded(builder, builder.load(held, typ=_WIDE))
            builder.store(builder.fadd(builder.load(where, typ=DOUBLE), total), where)


def _column_gram(op: ColumnGram, code: ChunkCode) -> None:
    """Add sixteen products at a time to as many slots."""
    builder, (columns, slots) = code.builder, code.words
    in_block = builder.and_(code.offset, integer(BLOCK_ELEMENTS - 1))
    with loop(builder, code.count, VECTOR_ELEMENTS) as index:
        wide = _wide_vectors(code, index)
        slot = builder.urem(builder.add(in_block, index), columns)
        count = len(pairs(len(wide)))
        for pair, (i, j) in enumerate(pairs(len(wide))):
            where = _sum_place(code, pair, count, slots, slot)
            held = builder.load(where, align=8, typ=_WIDE)
            sums = builder.fadd(held, builder.fmul(wide[i], wide[j]))
            builder.store(sums, where, align=8)


def _wide_vectors(code: ChunkCode, index: Value) -> list[Value]:
    """The vectors of all inputs at an index of the chunk, in float64."""
    wide = []
    for buffer, dtype in zip(code.buffers, code.dtypes, strict=True):
        element = ELEMENT_TYPES[dtype]
        place = at(code.builder, buffer, index, element)
        vector = code.builder.load(place, align=dtype.bits // 8, typ=vector_type(element))
        wide.append(convert(code.builder, vector, dtype, DType.F64))
    return wide


def _sum_place(code: ChunkCode, pair: int, count: int, slots: Value, slot: Value) -> Value:
    """Where a sum of the block at hand is: (block, pair, slot) of the tile's partial result."""
    builder = code.builder
    block = builder.udiv(code.offset, integer(BLOCK_ELEMENTS))
    first = builder.add(builder.mul(block, integer(count)), integer(pair))
    return at(builder, code.sums, builder.add(builder.mul(first, slots), slot), DOUBLE)


def _spread_coefficients(op: CombineVectors, code: ChunkCode) -> None:
    """The coefficients of each element of the chunk, one array after the other."""
    builder, (row, vectors, address) = code.builder, code.words
    table = builder.inttoptr(address, ir.PointerType())
    inside = builder.icmp_unsigned("<", code.count, integer(CHUNK_ELEMENTS))
    with builder.if_then(inside, likely=False):
        for target in code.spread:
            code.fill(target, integer(0), integer(CHUNK_ELEMENTS), DOUBLE(0.0))
    with code.pieces(row) as (begin, end, number):
        for position, target in enumerate(code.spread):
            first = builder.mul(vectors, integer(position))
            if op.is_columns:
                column = builder.urem(builder.add(code.start, begin), row)
                source = at(builder, table, builder.add(first, column), DOUBLE)
                size = builder.mul(builder.sub(end, begin), integer(8))
                place = at(builder, target, begin, DOUBLE)
                builder.call(code.copy, [place, source, size, INT1(0)])
            else:
                value = load_element(builder, table, builder.add(first, number), DOUBLE)
                code.fill(target, begin, end, value)


def _combine_vectors(op: CombineVectors, code: VectorCode) -> Value:
    """sum_i c_i x_i, products and sums rounded each."""
    builder, total = code.builder, None
    for x, place in zip(code.inputs, code.spread, strict=True):
        wide = builder.load(at(builder, place, code.index, DOUBLE), align=8, typ=_WIDE)
        product = builder.fmul(x, convert(builder, wide, DType.F64, code.dtypes[0]))
        total = product if total is None else builder.fadd(total, product)
    return total


def _table(op: CombineVectors, statistics: Sequence[Statistic]) -> Arguments:
    """Row length, number of vectors, address of the coefficients, which the unit holds."""
    (table,) = statistics
    assert table.flags.c_contiguous
    assert table.dtype == "float64"
    return Arguments(words=(op.row, table.shape[1], address_of(table)))


register_lowering(
    RowGram, Lowering(chunk=_row_gram, arguments=lambda op, _: Arguments(words=(op.row, op.slots)))
)
register_lowering(
    ColumnGram,
    Lowering(chunk=_column_gram, arguments=lambda op, _: Arguments(words=(op.columns, op.slots))),
)
register_lowering(CombineVectors, Lowering(_combine_vectors, _spread_coefficients, _table))
