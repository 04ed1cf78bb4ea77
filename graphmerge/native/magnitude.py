"""Native code of the k-th largest magnitude, digit by digit, and of keeping what is above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.loops import at, each_set_bit, integer, loop
from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import (
    DOUBLE,
    INT1,
    INT32,
    INT64,
    VECTOR_ELEMENTS,
    lane_numbers,
    spread,
    vector_type,
)
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.outliers import DropLargest
from graphmerge.ops.sparsify import DIGIT_BITS, KeepLargest, MagnitudeDigits, TieCutoff
from graphmerge.ops.whole_model import DigitHistogram
from graphmerge.schedule.fusion import CHUNK_ELEMENTS
from graphmerge.statistics.magnitude import first_with_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.graph import Op
    from graphmerge.native.chunk_code import ChunkCode
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.ops.variance import ShareDigits
    from graphmerge.statistics import Statistic


_NEVER = (1 << 64) - 1
"""Digits with which no magnitude begins."""


def count_digits(op: MagnitudeDigits | ShareDigits | DigitHistogram, code: ChunkCode) -> None:
    """Add the chunk to the histograms of a digit."""
    widths = DIGIT_BITS[code.dtypes[0]]
    width, below = widths[op.digit], sum(widths[op.digit + 1 :])
    if op.digit == 0:
        with loop(code.builder, code.count) as index:
            count_in(code, code.builder.lshr(code.magnitude(index), integer(below)))
        return
    with loop(code.builder, code.count, VECTOR_ELEMENTS) as start:
        found = code.beginning_with(start, code.words, width + below)
        with each_set_bit(code.builder, found) as place:
            offset = code.builder.urem(place, integer(VECTOR_ELEMENTS))
            bits = code.magnitude(code.builder.add(start, offset))
            rest = code.builder.lshr(bits, integer(below))
            digit = code.builder.and_(rest, integer((1 << width) - 1))
            before = code.builder.udiv(place, integer(VECTOR_ELEMENTS))
            histogram = code.builder.shl(before, integer(width))
            count_in(code, code.builder.or_(histogram, digit))


def count_in(code: ChunkCode, digit: Value) -> None:
    """Count one more in a bin of the histograms."""
    place = at(code.builder, code.histogram, digit, INT32)
    code.builder.store(code.builder.add(code.builder.load(place, typ=INT32), INT32(1)), place)


def digits_so_far(op: Op, statistics: Sequence[Statistic]) -> Arguments:
    """The bits that the digits before have found, for every histogram; of equal ones the first."""
    words: list[int] = []
    for statistic in statistics:
        for number, place in enumerate(first_with_bits(statistic)):
            words.append(int(statistic[number, 0]) if place == number else _NEVER)
    return Arguments(words=tuple(words))


def _digits_of_model(op: DigitHistogram, statistics: Sequence[Statistic]) -> Arguments:
    """The same for one of several models."""
    return Arguments(words=tuple(int(statistic[op.place, 0]) for statistic in statistics))


def _count_ties(op: Op, code: VectorCode) -> None:
    """1 for each tie, into the block's sum."""
    is_tie = _equal(code, code.magnitude_bits(code.inputs[0]))
    code.accumulate(0, code.only_inside(code.builder.uitofp(is_tie, vector_type(DOUBLE))))


def _bits_of_cutoff(op: TieCutoff, statistics: Sequence[Statistic]) -> Arguments:
    """The bits at which there are ties."""
    return Arguments(words=(int(statistics[0][op.place, 0]),))


def _equal(code: VectorCode, bits: Value) -> Value:
    """Which elements have the magnitude that the first word says."""
    return code.builder.icmp_unsigned("==", bits, _spread_word(code, code.words[0], bits))


def _spread_word(code: VectorCode, word: Value, like: Value) -> Value:
    """A word in every element of a vector of integers."""
    narrow = word if like.type.element == INT64 else code.builder.trunc(word, like.type.element)
    return spread(code.builder, narrow)


def _end_of_ties(op: KeepLargest | DropLargest, code: ChunkCode) -> None:
    """Index in the chunk up to which ties are kept; remembers the ties seen in the last block."""
    builder = code.builder
    bits, first, wanted = code.words
    after = builder.add(first, integer(BLOCK_ELEMENTS))
    is_before = builder.icmp_unsigned("<", code.start, first)
    builder.store(builder.select(is_before, integer(CHUNK_ELEMENTS), integer(0)), code.chunk_value)
    in_block = builder.and_(builder.not_(is_before), builder.icmp_unsigned("<", code.start, after))
    with builder.if_then(in_block, likely=False), loop(builder, code.count) as index:
        seen = builder.load(code.memory, typ=INT64)
        is_tie = builder.icmp_unsigned("==", code.magnitude(index), bits)
        kept = builder.and_(is_tie, builder.icmp_unsigned("<", seen, wanted))
        with builder.if_then(kept):
            builder.store(builder.add(seen, integer(1)), code.memory)
            builder.store(builder.add(index, integer(1)), code.chunk_value)


def _keep_largest(op: KeepLargest, code: VectorCode) -> Value:
    """Entries above the threshold, and ties before the end; zero elsewhere, also for -0."""
    return code.choose(_is_largest(code), code.inputs[0], code.constant(0.0))


def _drop_largest(op: DropLargest, code: VectorCode) -> Value:
    """Everything else."""
    return code.choose(_is_largest(code), code.constant(0.0), code.inputs[0])


def _is_largest(code: VectorCode) -> Value:
    """Which entries are above the threshold, or ties before the end; no zero is."""
    builder = code.builder
    bits = code.magnitude_bits(code.inputs[0])
    threshold = _spread_word(code, code.words[0], bits)
    above = builder.icmp_unsigned(">", bits, threshold)
    end = builder.select(
        builder.icmp_unsigned(">", code.chunk_value, code.index),
        builder.sub(code.chunk_value, code.index),
        integer(0),
    )
    early = builder.icmp_unsigned(
        "<", lane_numbers(INT32), spread(builder, builder.trunc(end, INT32))
    )
    not_zero = builder.icmp_unsigned("!=", bits, bits.type(None))
    tie = builder.and_(builder.icmp_unsigned("==", bits, threshold), not_zero)
    kept = builder.or_(above, builder.and_(tie, early))
    assert kept.type.element == INT1
    return kept


def _cutoff(op: KeepLargest | DropLargest, statistics: Sequence[Statistic]) -> Arguments:
    """Threshold, flat index of the block with the last kept tie, ties kept in that block."""
    bits, block, in_block = (int(value) for value in statistics[0])
    return Arguments(words=(bits, block * BLOCK_ELEMENTS, in_block))


register_lowering(MagnitudeDigits, Lowering(chunk=count_digits, arguments=digits_so_far))
register_lowering(DigitHistogram, Lowering(chunk=count_digits, arguments=_digits_of_model))
register_lowering(TieCutoff, Lowering(_count_ties, arguments=_bits_of_cutoff))
register_lowering(KeepLargest, Lowering(_keep_largest, _end_of_ties, _cutoff))
register_lowering(DropLargest, Lowering(_drop_largest, _end_of_ties, _cutoff))
