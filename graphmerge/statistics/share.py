"""The k-th largest of the magnitudes that are not zero, k being a share of their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.variance import ZERO_BIN, EnergyShares, ShareDigits
from graphmerge.statistics.magnitude import HistogramReduction, next_digit
from graphmerge.statistics.quiet import QUIET
from graphmerge.statistics.registry import Statistic, register_reduction, register_small

if TYPE_CHECKING:
    from collections.abc import Sequence


def _nothing(bits_so_far: int) -> Statistic:
    """The statistic of a digit where k is zero: bits are all set, which is above any magnitude."""
    return np.array([[bits_so_far << 16 | 0xFFFF, 0, 0, 0]], dtype=np.int64)


class ShareDigitsReduction(HistogramReduction):
    """As for the k-th largest magnitude; the first digit's histogram ends with the zeros."""

    def finish(
        self, op: ShareDigits, state: Statistic, statistics: Sequence[Statistic]
    ) -> Statistic:
        """The digit that the k-th largest has."""
        bits = above = 0
        if op.digit == 0:
            state = state[:ZERO_BIN]
            keep = int(op.share * int(state.sum(dtype=np.int64)))
        else:
            bits, above, _, keep = (int(value) for value in statistics[0][0])
        if keep == 0:
            return _nothing(bits) if op.digit else np.array([[0x7FFF, 0, 0, 0]], dtype=np.int64)
        return np.array([[*next_digit(state, bits, above, keep), keep]], dtype=np.int64)

    def known(self, op: ShareDigits, statistics: Sequence[Statistic]) -> Statistic | None:
        """Where nothing is kept there is no digit to look for."""
        nothing = op.digit > 0 and int(statistics[0][0, 3]) == 0
        return _nothing(int(statistics[0][0, 0])) if nothing else None


register_reduction(ShareDigits, ShareDigitsReduction())


@register_small(EnergyShares)
@QUIET
def energy_shares(op: EnergyShares, statistics: Sequence[Statistic]) -> Statistic:
    """Squared norms over their sum."""
    energies = np.array([float(gram[0, 0]) for gram in statistics])
    total = float(energies.sum())
    return energies / total if total > 0 else np.zeros_like(energies)
