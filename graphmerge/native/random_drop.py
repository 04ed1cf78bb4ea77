"""Native code of random dropping: the masks that `graphmerge.ops.masks` describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.loops import at, each_set_bit, integer, loop
from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import INT8, INT32, INT64
from graphmerge.ops import RandomDrop
from graphmerge.ops.masks import INCREMENT, MIXING, WORD_ELEMENTS, mask_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.chunk_code import ChunkCode
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic

_WORDS = 8
"""Outputs of SplitMix64 that are drawn at once."""
_DRAWN_ELEMENTS = _WORDS * WORD_ELEMENTS
_DRAWN = ir.VectorType(INT8, _DRAWN_ELEMENTS)
_OUTPUTS = ir.VectorType(INT64, _WORDS)


def _draw_mask(op: RandomDrop, code: ChunkCode) -> None:
    """One byte per element: 1 where it is kept. The last step may go beyond the chunk's count."""
    seed, second_seed, threshold, rest, everything = code.words
    builder = code.builder
    limit = _spread(builder, builder.trunc(threshold, INT8), _DRAWN)
    always = _spread(builder, builder.trunc(everything, INT8), _DRAWN)
    places = _OUTPUTS([INT64(place) for place in range(_WORDS)])
    with loop(builder, code.count, _DRAWN_ELEMENTS) as index:
        flat = builder.add(code.start, index)
        first = builder.udiv(flat, integer(WORD_ELEMENTS))
        numbers = builder.add(_spread(builder, first, _OUTPUTS), places)
        drawn = builder.bitcast(_split_mix(builder, numbers, seed), _DRAWN)
        kept = builder.zext(builder.icmp_unsigned("<", drawn, limit), _DRAWN)
        place = at(builder, code.mask_bytes, index)
        builder.store(builder.or_(kept, always), place, align=_DRAWN_ELEMENTS)
        undecided = builder.icmp_unsigned("==", drawn, limit)
        with each_set_bit(builder, builder.bitcast(undecided, INT64)) as offset:
            mixed = _split_mix(builder, builder.add(flat, offset), second_seed)
            late = builder.zext(builder.icmp_unsigned("<", mixed, rest), INT8)
            place = at(builder, code.mask_bytes, builder.add(index, offset))
            builder.store(builder.or_(late, builder.trunc(everything, INT8)), place)


def _split_mix(builder: ir.IRBuilder, numbers: Value, seed: Value) -> Value:
    """64 random bits for each number, a scalar or a vector of them: that output of SplitMix64."""
    kind = numbers.type

    def constant(value: int) -> Value:
        is_vector = isinstance(kind, ir.VectorType)
        return kind([INT64(value)] * kind.count) if is_vector else INT64(value)

    start = _spread(builder, seed, kind) if isinstance(kind, ir.VectorType) else seed
    step = builder.mul(builder.add(numbers, constant(1)), constant(INCREMENT))
    z = builder.add(start, step)
    for shift, factor in MIXING:
        z = builder.mul(builder.xor(z, builder.lshr(z, constant(shift))), constant(factor))
    return builder.xor(z, builder.lshr(z, constant(31)))


def _spread(builder: ir.IRBuilder, scalar: Value, kind: ir.VectorType) -> Value:
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, scalar, INT32(0))
    return builder.shuffle_vector(first, empty, ir.VectorType(INT32, kind.count)(None))


def _random_drop(op: RandomDrop, code: VectorCode) -> Value:
    """X where the mask keeps it, else x * 0."""
    return code.builder.fmul(code.inputs[0], code.mask())


def _arguments(op: RandomDrop, statistics: Sequence[Statistic]) -> Arguments:
    mask = mask_parameters(op.key, op.density)
    everything = int(mask.threshold > 255)
    threshold = min(mask.threshold, 255)
    return Arguments(words=(mask.seed, mask.second_seed, threshold, mask.rest, everything))


register_lowering(RandomDrop, Lowering(_random_drop, _draw_mask, _arguments))
