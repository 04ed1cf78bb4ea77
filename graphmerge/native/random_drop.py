"""Native code of random dropping: the masks that `graphmerge.kernels.random_drop` describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.loops import at, each_set_bit, integer, loop
from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import INT8, INT64
from graphmerge.ops import RandomDrop
from graphmerge.ops.masks import COUNTER_BYTES, mask_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.chunk_code import ChunkCode
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic

_ROUNDS = 10
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_INT128 = ir.IntType(128)
_DRAWN = ir.VectorType(INT8, COUNTER_BYTES)


def _draw_mask(op: RandomDrop, code: ChunkCode) -> None:
    """One byte per element: 1 where it is kept. The last step may go beyond the chunk's count."""
    low, high, threshold, _rest, everything = code.words
    builder = code.builder
    limit = _spread_byte(builder, threshold)
    always = _spread_byte(builder, everything)
    with loop(builder, code.count, COUNTER_BYTES) as index:
        flat = builder.add(code.start, index)
        counter = builder.add(builder.udiv(flat, integer(COUNTER_BYTES)), integer(1))
        drawn = builder.bitcast(_philox(builder, counter, (low, high)), _DRAWN)
        kept = builder.zext(builder.icmp_unsigned("<", drawn, limit), _DRAWN)
        place = at(builder, code.mask_bytes, index)
        builder.store(builder.or_(kept, always), place, align=COUNTER_BYTES)
        undecided = builder.icmp_unsigned("==", drawn, limit)
        bits = builder.bitcast(undecided, ir.IntType(COUNTER_BYTES))
        _decide(code, index, flat, bits)


def _decide(code: ChunkCode, index: Value, flat: Value, undecided: Value) -> None:
    """Let 64 more bits decide, for each element whose bit is set."""
    low, _, _, rest, everything = code.words
    builder = code.builder
    with each_set_bit(builder, undecided) as offset:
        mixed = _mix(builder, builder.add(flat, offset), low)
        kept = builder.zext(builder.icmp_unsigned("<", mixed, rest), INT8)
        place = at(builder, code.mask_bytes, builder.add(index, offset))
        builder.store(builder.or_(kept, builder.trunc(everything, INT8)), place)


def _philox(builder: ir.IRBuilder, counter: Value, key: tuple[Value, Value]) -> Value:
    """Four 64-bit numbers of Philox4x64-10 for the counter (counter, 0, 0, 0)."""
    state: list[Value] = [counter, integer(0), integer(0), integer(0)]
    keys: list[Value] = list(key)
    for number in range(_ROUNDS):
        if number:
            keys = [builder.add(k, integer(w)) for k, w in zip(keys, _WEYL, strict=True)]
        high0, low0 = _multiply(builder, state[0], _MULTIPLIERS[0])
        high1, low1 = _multiply(builder, state[2], _MULTIPLIERS[1])
        state = [
            builder.xor(builder.xor(high1, state[1]), keys[0]),
            low1,
            builder.xor(builder.xor(high0, state[3]), keys[1]),
            low0,
        ]
    vector: Value = ir.Constant(ir.VectorType(INT64, 4), ir.Undefined)
    for place, word in enumerate(state):
        vector = builder.insert_element(vector, word, ir.IntType(32)(place))
    return vector


def _multiply(builder: ir.IRBuilder, value: Value, factor: int) -> tuple[Value, Value]:
    """Upper and lower 64 bits of the product."""
    product = builder.mul(builder.zext(value, _INT128), _INT128(factor))
    high = builder.trunc(builder.lshr(product, _INT128(64)), INT64)
    return high, builder.trunc(product, INT64)


def _mix(builder: ir.IRBuilder, index: Value, key: Value) -> Value:
    """64 random bits for an index: output number `index` of SplitMix64 seeded with the key."""
    step = builder.mul(builder.add(index, integer(1)), integer(0x9E3779B97F4A7C15))
    z = builder.add(key, step)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = builder.mul(builder.xor(z, builder.lshr(z, integer(shift))), integer(factor))
    return builder.xor(z, builder.lshr(z, integer(31)))


def _spread_byte(builder: ir.IRBuilder, word: Value) -> Value:
    empty = ir.Constant(_DRAWN, ir.Undefined)
    first = builder.insert_element(empty, builder.trunc(word, INT8), ir.IntType(32)(0))
    zeros = ir.VectorType(ir.IntType(32), COUNTER_BYTES)(None)
    return builder.shuffle_vector(first, empty, zeros)


def _random_drop(op: RandomDrop, code: VectorCode) -> Value:
    """X where the mask keeps it, else x * 0."""
    return code.builder.fmul(code.inputs[0], code.mask())


def _arguments(op: RandomDrop, statistics: Sequence[Statistic]) -> Arguments:
    mask = mask_parameters(op.key, op.density)
    low, high = mask.key & (2**64 - 1), mask.key >> 64
    everything = int(mask.threshold > 255)
    return Arguments(words=(low, high, min(mask.threshold, 255), mask.rest, everything))


register_lowering(RandomDrop, Lowering(_random_drop, _draw_mask, _arguments))
