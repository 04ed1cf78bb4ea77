"""The k-th largest magnitude from histograms of its digits, and where the ties at it end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.blocks import BLOCK_ELEMENTS, blocks
from graphmerge.ops.sparsify import MagnitudeDigits, TieCutoff
from graphmerge.statistics.registry import Partial, Reduction, Statistic, register_reduction
from graphmerge.statistics.sums import BlockReduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.ops.sparsify import AbstractDigits
    from graphmerge.spec import TensorSpec

EVERYWHERE = np.iinfo(np.int64).max // BLOCK_ELEMENTS
"""The block of the last kept tie where every tie is kept: behind any tensor's end."""

_ROW = 256
"""Bins that are added up first to find a digit; a divisor of every histogram's."""


class HistogramReduction(Reduction):
    """Histograms of one digit over the magnitudes that share the digits before it."""

    def begin(self, op: AbstractDigits, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """Empty histograms, of counts as narrow as they may be: they are added up per tile."""
        fusion = op.fusion(inputs)
        assert fusion is not None, "digits are counted by native code, too"
        narrow = inputs[0].numel < 1 << 32
        return np.zeros(fusion.histogram_bins, dtype=np.uint32 if narrow else np.int64)

    def combine(self, state: Statistic, partial: Partial, start: int) -> None:
        """Counts add up, in any order."""
        np.add(state, partial, out=state, casting="unsafe")


class MagnitudeDigitsReduction(HistogramReduction):
    """The statistic has rows (bits so far, magnitudes surely above, magnitudes with these, k)."""

    def finish(
        self, op: MagnitudeDigits, state: Statistic, statistics: Sequence[Statistic]
    ) -> Statistic:
        """The digit that the k-th largest magnitude has, for each k."""
        count = len(op.keep)
        before = statistics[0] if op.digit else np.zeros((count, 4), dtype=np.int64)
        counts = state.reshape(op.histograms, -1)
        places = first_with_bits(before) if op.digit else [0] * count
        found = [
            (*next_digit(counts[place], int(bits), int(above), keep), keep)
            for place, (bits, above, _, _), keep in zip(places, before, op.keep, strict=True)
        ]
        return np.array(found, dtype=np.int64)


def first_with_bits(statistic: Statistic) -> list[int]:
    """For every row the first one with the same bits: what they share is counted there alone."""
    bits = statistic[:, 0].tolist()
    return [bits.index(one) for one in bits]


class TieCutoffReduction(BlockReduction):
    """Ties per block; the statistic is (bits, block of the last kept tie, ties kept there)."""

    def begin(self, op: TieCutoff, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """A zero per block."""
        return np.zeros(blocks(inputs[0]), dtype=np.int64)

    def finish(self, op: TieCutoff, state: Statistic, statistics: Sequence[Statistic]) -> Statistic:
        """Where the ties that are kept end."""
        bits, above, _, keep = (int(value) for value in statistics[0][op.place])
        return cutoff_of(state, bits, keep - above) if keep else _no_cutoff(bits)

    def known(self, op: TieCutoff, statistics: Sequence[Statistic]) -> Statistic | None:
        """Where every tie is kept, or nothing at all, there is no cutoff to look for."""
        bits, above, ties, keep = (int(value) for value in statistics[0][op.place])
        if keep == 0:
            return _no_cutoff(bits)
        return np.array([bits, EVERYWHERE, 0], dtype=np.int64) if keep - above == ties else None


def _no_cutoff(bits: int) -> Statistic:
    """The statistic where nothing is kept."""
    return np.array([bits, 0, 0], dtype=np.int64)


def next_digit(counts: Statistic, bits: int, above: int, keep: int) -> tuple[int, int, int]:
    """The statistic with one digit more, from how many of the candidates have which digit.

    Args:
        counts: A histogram; of 15 bits for the first digit, when `bits` is 0, else of 16.
        bits: The digits so far.
        above: Magnitudes that are surely above.
        keep: k.
    """
    rows = counts.reshape(-1, _ROW)  # a row of bins at a time, then the bins of one
    row, above = _last_reached(rows.sum(axis=1, dtype=np.int64), above, keep)
    place, above = _last_reached(rows[row].astype(np.int64), above, keep)
    return (bits << 16) | (row * _ROW + place), above, int(rows[row, place])


def _last_reached(counts: Statistic, above: int, keep: int) -> tuple[int, int]:
    """The last place with which, and those behind it, k is reached; and how many lie above it."""
    not_below = np.cumsum(counts[::-1])[::-1]
    place = int(np.flatnonzero(not_below >= keep - above)[-1])
    return place, above + int(not_below[place] - counts[place])


def cutoff_of(ties: Statistic, bits: int, kept: int) -> Statistic:
    """(bits, block of the last kept tie, ties kept there), from the ties of every block."""
    until = np.cumsum(ties)
    block = int(np.searchsorted(until, kept))
    in_block = kept - int(until[block] - ties[block])
    return np.array([bits, block, in_block], dtype=np.int64)


register_reduction(MagnitudeDigits, MagnitudeDigitsReduction())
register_reduction(TieCutoff, TieCutoffReduction())
