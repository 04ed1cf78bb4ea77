"""Native code of keeping n of every m entries: the n-th largest is found bit by bit.

The search ends as soon as a bound divides the n largest from the others: mostly half way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.loops import at, each_set_bit, integer, loop, variable
from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import INT1, INT8, INT64, VECTOR_ELEMENTS, vector_type
from graphmerge.ops.blockwise import KeepInGroups

if TYPE_CHECKING:
    from graphmerge.native.chunk_code import ChunkCode
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode


def _mask_groups(op: KeepInGroups, code: ChunkCode) -> None:
    """A byte per element, 1 where it is kept."""
    with loop(code.builder, code.count, op.group) as start:
        nth = _nth_largest(op, code, start)
        above = _count(op, code, start, code.builder.add(nth, integer(1)))
        left = variable(code.builder, code.builder.sub(code.words[0], above))
        with loop(code.builder, integer(op.group), VECTOR_ELEMENTS) as offset:
            _mask_vector(code, code.builder.add(start, offset), nth, left)


def _nth_largest(op: KeepInGroups, code: ChunkCode, start: Value) -> Value:
    """A magnitude that the n largest entries of a group reach and no others, if there is one.

    Else the largest that at least n reach, where some are equal; 0 if there are not n.
    """
    builder = code.builder
    highest = code.integer.width - 2
    found = variable(builder, integer(0))
    is_exact = variable(builder, INT1(0))
    with loop(builder, integer(highest + 1)) as step:
        bit = builder.shl(integer(1), builder.sub(integer(highest), step))
        with builder.if_then(builder.not_(builder.load(is_exact, typ=INT1))):
            held = builder.load(found, typ=INT64)
            candidate = builder.or_(held, bit)
            reached = _count(op, code, start, candidate)
            enough = builder.icmp_unsigned(">=", reached, code.words[0])
            builder.store(builder.select(enough, candidate, held), found)
            builder.store(builder.icmp_unsigned("==", reached, code.words[0]), is_exact)
    return builder.load(found, typ=INT64)


def _count(op: KeepInGroups, code: ChunkCode, start: Value, least: Value) -> Value:
    """How many entries of a group have at least this magnitude."""
    builder = code.builder
    count = variable(builder, integer(0))
    with loop(builder, integer(op.group), VECTOR_ELEMENTS) as offset:
        bits = code.between(builder.add(start, offset), least, _most(code))
        held = builder.load(count, typ=INT64)
        builder.store(builder.add(held, builder.zext(builder.ctpop(bits), INT64)), count)
    return builder.load(count, typ=INT64)


def _mask_vector(code: ChunkCode, index: Value, nth: Value, left: Value) -> None:
    """The mask of a vector: what is above, and ties as long as some are left."""
    builder = code.builder
    ties = code.between(index, nth, nth)
    kept = variable(builder, code.between(index, builder.add(nth, integer(1)), _most(code)))
    with each_set_bit(builder, ties) as place:
        held = builder.load(left, typ=INT64)
        wanted = builder.icmp_signed(">", held, integer(0))
        bit = builder.shl(ir.Constant(ties.type, 1), builder.trunc(place, ties.type))
        before = builder.load(kept, typ=ties.type)
        builder.store(builder.select(wanted, builder.or_(before, bit), before), kept)
        builder.store(builder.sub(held, integer(1)), left)
    truth = builder.bitcast(builder.load(kept, typ=ties.type), vector_type(ir.IntType(1)))
    bytes_ = builder.zext(truth, vector_type(INT8))
    builder.store(bytes_, at(builder, code.mask_bytes, index), align=VECTOR_ELEMENTS)


def _most(code: ChunkCode) -> Value:
    return integer((1 << (code.integer.width - 1)) - 1)


def _keep_in_groups(op: KeepInGroups, code: VectorCode) -> Value:
    """x where the mask keeps it, else 0."""
    kept = code.is_above_zero(code.mask())
    return code.choose(kept, code.inputs[0], code.constant(0.0))


register_lowering(
    KeepInGroups,
    Lowering(_keep_in_groups, _mask_groups, lambda op, _: Arguments(words=(op.keep,))),
)
