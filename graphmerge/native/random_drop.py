"""Native code of random dropping: the masks that `graphmerge.ops.masks` describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.loops import at, each_set_bit, integer, loop
from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import INT8, INT64, spread_over
from graphmerge.ops.masks import INCREMENT, MIXING, WORD_ELEMENTS, mask_parameters
from graphmerge.ops.sparsify import RandomDrop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.chunk_code import ChunkCode
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic

_WORDS = 8
"""Outputs of SplitMix64 that are drawn at once."""
DRAWN_ELEMENTS = _WORDS * WORD_ELEMENTS
DRAWN = ir.VectorType(INT8, DRAWN_ELEMENTS)
_OUTPUTS = ir.VectorType(INT64, _WORDS)


def _draw_mask(op: RandomDrop, code: ChunkCode) -> None:
    """One byte per element: 1 where it is kept. The last step may go beyond the chunk's count."""
    seed, second_seed, threshold, rest, everything = code.words
    builder = code.builder
    limit = spread_over(builder, builder.trunc(threshold, INT8), DRAWN)
    always = spread_over(builder, builder.trunc(everything, INT8), DRAWN)
    with loop(builder, code.count, DRAWN_ELEMENTS) as index:
        flat = builder.add(code.start, index)
        drawn = drawn_bytes(builder, flat, seed)
        kept = builder.zext(builder.icmp_unsigned("<", drawn, limit), DRAWN)
        place = at(builder, code.mask_bytes, index)
        builder.store(builder.or_(kept, always), place, align=DRAWN_ELEMENTS)
        undecided = builder.icmp_unsigned("==", drawn, limit)
        with each_set_bit(builder, builder.bitcast(undecided, INT64)) as offset:
            mixed = draw(builder, builder.add(flat, offset), second_seed)
            late = builder.zext(builder.icmp_unsigned("<", mixed, rest), INT8)
            place = at(builder, code.mask_bytes, builder.add(index, offset))
            builder.store(builder.or_(late, builder.trunc(everything, INT8)), place)


def drawn_bytes(builder: ir.IRBuilder, flat: Value, seed: Value) -> Value:
    """The random bytes of elements from a flat index (a multiple of 8) on."""
    first = builder.udiv(flat, integer(WORD_ELEMENTS))
    steps = _OUTPUTS([INT64(INCREMENT * place % 2**64) for place in range(_WORDS)])
    states = builder.add(spread_over(builder, _state(builder, first, seed), _OUTPUTS), steps)
    return builder.bitcast(_output(builder, states), DRAWN)


def draw(builder: ir.IRBuilder, number: Value, seed: Value) -> Value:
    """64 random bits for a number."""
    return _output(builder, _state(builder, number, seed))


def _state(builder: ir.IRBuilder, number: Value, seed: Value) -> Value:
    """State of SplitMix64 from which it makes the output of this number."""
    step = builder.mul(builder.add(number, integer(1)), integer(INCREMENT))
    return builder.add(seed, step)


def _output(builder: ir.IRBuilder, state: Value) -> Value:
    """The output of a state; of a vector of states, too."""
    kind = state.type

    def constant(value: int) -> Value:
        is_vector = isinstance(kind, ir.VectorType)
        return kind([INT64(value)] * kind.count) if is_vector else INT64(value)

    z = state
    for shift, factor in MIXING:
        z = builder.mul(builder.xor(z, builder.lshr(z, constant(shift))), constant(factor))
    return builder.xor(z, builder.lshr(z, constant(31)))


def _random_drop(op: RandomDrop, code: VectorCode) -> Value:
    """x where the mask keeps it, else x * 0."""
    return code.builder.fmul(code.inputs[0], code.mask())


def _arguments(op: RandomDrop, statistics: Sequence[Statistic]) -> Arguments:
    mask = mask_parameters(op.key, op.density)
    everything = int(mask.threshold > 255)
    threshold = min(mask.threshold, 255)
    return Arguments(words=(mask.seed, mask.second_seed, threshold, mask.rest, everything))


register_lowering(RandomDrop, Lowering(_random_drop, _draw_mask, _arguments))
