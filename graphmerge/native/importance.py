"""Native code of the importance of changes: a factor for each row, spread over its elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.arrays import address_of
from graphmerge.native.loops import at, integer, load_element
from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import DOUBLE, ELEMENT_TYPES, POINTER, vector_type
from graphmerge.ops.importance import Importance, KeepImportant
from graphmerge.schedule.fusion import CHUNK_ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.chunk_code import ChunkCode
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic


def _spread_factors(op: Importance, code: ChunkCode) -> None:
    """The factor of each element of the chunk; zero for those outside the tensor."""
    builder, (address, row), (factors,) = code.builder, code.words, code.spread
    table = builder.inttoptr(address, POINTER)
    with code.pieces(row) as (begin, end, number):
        factor = load_element(builder, table, number, DOUBLE)
        code.fill(factors, begin, end, _narrowed(code, factor))
    zero = ir.Constant(ELEMENT_TYPES[code.dtypes[0]], 0.0)
    code.fill(factors, code.count, integer(CHUNK_ELEMENTS), zero)


def _narrowed(code: ChunkCode, factor: Value) -> Value:
    element = ELEMENT_TYPES[code.dtypes[0]]
    return factor if element == DOUBLE else code.builder.fptrunc(factor, element)


def _importance(op: Importance, code: VectorCode) -> Value:
    """|x| times the factor."""
    place = at(code.builder, code.spread[0], code.index, code.element)
    factor = code.builder.load(place, align=64, typ=vector_type(code.element))
    return code.builder.fmul(code.absolute(code.inputs[0]), factor)


def _rows(op: Importance, statistics: Sequence[Statistic]) -> Arguments:
    """Where the factors are, which the caller keeps alive, and how long rows are."""
    return Arguments(words=(address_of(statistics[0]), op.row))


def _keep_important(op: KeepImportant, code: VectorCode) -> Value:
    """x where it is important enough, else 0."""
    x, size = code.inputs
    kept = code.builder.fcmp_ordered(">=", size, code.numbers[0])
    return code.choose(kept, x, code.constant(0.0))


def _threshold(op: KeepImportant, statistics: Sequence[Statistic]) -> Arguments:
    return Arguments((float(statistics[0]),))


register_lowering(Importance, Lowering(_importance, _spread_factors, _rows))
register_lowering(KeepImportant, Lowering(_keep_important, arguments=_threshold))
