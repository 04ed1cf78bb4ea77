"""The k-th largest magnitude from histograms of its digits, and where the ties at it end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops import MagnitudeDigits, TieCutoff
from graphmerge.ops.blocks import BLOCK_ELEMENTS, blocks
from graphmerge.ops.sparsify import DIGIT_BITS
from graphmerge.statistics.registry import Partial, Reduction, Statistic, register_reduction
from graphmerge.statistics.sums import BlockReduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.spec import TensorSpec


class MagnitudeDigitsReduction(Reduction):
    """A histogram of one digit over the magnitudes that share the digits before it.

    The statistic is (bits so far, magnitudes surely above, magnitudes with these bits so far).
    """

    def begin(self, op: MagnitudeDigits, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """An empty histogram, of counts as narrow as they may be: they are added up per tile."""
        bins = 1 << DIGIT_BITS[inputs[0].dtype][op.digit]
        return np.zeros(bins, dtype=np.uint32 if inputs[0].numel < 1 << 32 else np.int64)

    def combine(self, state: Statistic, partial: Partial, start: int) -> None:
        """Counts add up, in any order."""
        np.add(state, partial, out=state, casting="unsafe")

    def finish(
        self, op: MagnitudeDigits, state: Statistic, statistics: Sequence[Statistic]
    ) -> Statistic:
        """The digit that the k-th largest magnitude has."""
        bits, above, _ = (int(value) for value in statistics[0]) if op.digit else (0, 0, 0)
        counts = state.astype(np.int64)
        not_below = np.cumsum(counts[::-1])[::-1]  # magnitudes with this digit or a larger one
        digit = int(np.flatnonzero(not_below >= op.keep - above)[-1])
        width = 15 if op.digit == 0 else 16
        above += int(not_below[digit] - counts[digit])
        return np.array([(bits << width) | digit, above, counts[digit]], dtype=np.int64)


class TieCutoffReduction(BlockReduction):
    """Ties per block; the statistic is (bits, block of the last kept tie, ties kept there)."""

    def begin(self, op: TieCutoff, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """A zero per block."""
        return np.zeros(blocks(inputs[0]), dtype=np.int64)

    def finish(self, op: TieCutoff, state: Statistic, statistics: Sequence[Statistic]) -> Statistic:
        """Where the ties that are kept end."""
        bits, above, _ = (int(value) for value in statistics[0])
        until = np.cumsum(state)
        block = int(np.searchsorted(until, op.keep - above))
        in_block = op.keep - above - int(until[block] - state[block])
        return np.array([bits, block, in_block], dtype=np.int64)

    def known(self, op: TieCutoff, statistics: Sequence[Statistic]) -> Statistic | None:
        """Where every tie is kept there is no cutoff to look for."""
        bits, above, ties = (int(value) for value in statistics[0])
        if op.keep - above == ties:
            return np.array([bits, np.iinfo(np.int64).max // BLOCK_ELEMENTS, 0], dtype=np.int64)
        return None


register_reduction(MagnitudeDigits, MagnitudeDigitsReduction())
register_reduction(TieCutoff, TieCutoffReduction())
