"""Native code of the k-th largest magnitude, digit by digit, and of keeping what is above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.chunk_code import COMPARED
from graphmerge.native.loops import at, each_set_bit, integer, loop, variable
from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import (
    INT1,
    INT32,
    INT64,
    VECTOR_ELEMENTS,
    running_sums,
    spread,
    vector_type,
)
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.outliers import DropLargest
from graphmerge.ops.sparsify import DIGIT_BITS, KeepLargest, MagnitudeDigits, TieCutoff
from graphmerge.ops.whole_model import DigitHistogram
from graphmerge.statistics.magnitude import first_with_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.graph import Op
    from graphmerge.native.chunk_code import ChunkCode
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.ops.variance import ShareDigits
    from graphmerge.statistics import Statistic


_COUNTS_TIES = 1 << 63
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
    with loop(code.builder, code.count, COMPARED) as start:
        for number, found in enumerate(code.beginning_with(start, code.words, width + below)):
            with each_set_bit(code.builder, found) as offset:
                bits = code.magnitude(code.builder.add(start, offset))
                rest = code.builder.lshr(bits, integer(below))
                digit = code.builder.and_(rest, integer((1 << width) - 1))
                count_in(code, code.builder.or_(integer(number << width), digit))


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
    code.add_count(0, code.builder.and_(is_tie, code.inside))


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


def _least_dropped(op: KeepLargest | DropLargest, code: ChunkCode) -> None:
    """Leave the largest magnitude that is none of the k largest, whatever its place in the chunk.

    With a bit above all magnitudes, if ties at the threshold have to be counted in this chunk.
    """
    builder = code.builder
    bits, first, _ = code.words
    is_before = builder.icmp_unsigned("<", code.start, first)
    after = builder.add(first, integer(BLOCK_ELEMENTS))
    in_block = builder.and_(builder.not_(is_before), builder.icmp_unsigned("<", code.start, after))
    not_zero = builder.icmp_unsigned("!=", bits, integer(0))  # no zero is kept
    keeps_ties = builder.zext(builder.and_(is_before, not_zero), INT64)
    counts = builder.select(in_block, integer(_COUNTS_TIES), integer(0))
    builder.store(builder.or_(builder.sub(bits, keeps_ties), counts), code.chunk_value)


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
    least = builder.and_(code.chunk_value, integer(_COUNTS_TIES - 1))
    kept = variable(builder, builder.icmp_unsigned(">", bits, _spread_word(code, least, bits)))
    counts = builder.icmp_signed("<", code.chunk_value, integer(0))
    with builder.if_then(counts, likely=False):
        above = builder.load(kept, typ=vector_type(INT1))
        builder.store(builder.or_(above, _early_ties(code, bits)), kept)
    return builder.load(kept, typ=vector_type(INT1))


def _early_ties(code: VectorCode, bits: Value) -> Value:
    """Which entries are ties before the end; remembers the ties seen in the block."""
    builder = code.builder
    not_zero = builder.icmp_unsigned("!=", bits, bits.type(None))
    tie = builder.and_(_equal(code, bits), not_zero)
    until = running_sums(builder, builder.zext(tie, vector_type(INT32)))
    seen = builder.load(code.memory, typ=INT64)
    found = builder.extract_element(until, INT32(VECTOR_ELEMENTS - 1))
    builder.store(builder.add(seen, builder.zext(found, INT64)), code.memory)
    wanted = builder.trunc(builder.sub(code.words[2], seen), INT32)
    return builder.and_(tie, builder.icmp_signed("<=", until, spread(builder, wanted)))


def _cutoff(op: KeepLargest | DropLargest, statistics: Sequence[Statistic]) -> Arguments:
    """Threshold, flat index of the block with the last kept tie, ties kept in that block."""
    bits, block, in_block = (int(value) for value in statistics[0])
    return Arguments(words=(bits, block * BLOCK_ELEMENTS, in_block))


register_lowering(MagnitudeDigits, Lowering(chunk=count_digits, arguments=digits_so_far))
register_lowering(DigitHistogram, Lowering(chunk=count_digits, arguments=_digits_of_model))
register_lowering(TieCutoff, Lowering(_count_ties, arguments=_bits_of_cutoff))
register_lowering(KeepLargest, Lowering(_keep_largest, _least_dropped, _cutoff))
register_lowering(DropLargest, Lowering(_drop_largest, _least_dropped, _cutoff))
