"""Statistics over many tensors: sums, and digits of the k-th largest magnitudes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from attrs import define

from graphmerge.ops.whole_model import (
    Affine,
    DigitHistogram,
    DigitsOverTensors,
    InverseRootShares,
    KeepTies,
    Pick,
    Shares,
    SumOverTensors,
)
from graphmerge.statistics.magnitude import EVERYWHERE, HistogramReduction, next_digit
from graphmerge.statistics.quiet import QUIET
from graphmerge.statistics.registry import (
    Fold,
    Statistic,
    register_fold,
    register_reduction,
    register_small,
)
from graphmerge.statistics.sums import exact_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.spec import TensorSpec


class SumFold(Fold):
    """Numbers of all tensors, added up exactly at the end."""

    def begin(self, op: SumOverTensors, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """A zero per number."""
        return np.zeros(len(inputs))

    def take(self, op: SumOverTensors, state: Statistic, place: int, statistic: Statistic) -> None:
        """The number to its place."""
        state[place] = statistic.item()

    def finish(self, op: SumOverTensors, state: Statistic) -> Statistic:
        """The sums."""
        return np.array([exact_sum(state[place :: op.width]) for place in range(op.width)])


class DigitHistogramReduction(HistogramReduction):
    """Counts, which are the statistic."""

    def finish(
        self, op: DigitHistogram, state: Statistic, statistics: Sequence[Statistic]
    ) -> Statistic:
        """The counts."""
        return state


@define
class _Digits:
    """Histograms of the tensors so far."""

    counts: list[Statistic]
    """Of each model."""
    before: Statistic | None = None
    """The statistic of the digit before."""


class DigitsFold(Fold):
    """Histograms add up; the digit is that of the sum."""

    def begin(self, op: DigitsOverTensors, inputs: tuple[TensorSpec, ...]) -> _Digits:
        """Empty histograms."""
        bins = inputs[0].numel
        return _Digits([np.zeros(bins, dtype=np.int64) for _ in op.keep])

    def take(self, op: DigitsOverTensors, state: _Digits, place: int, statistic: Statistic) -> None:
        """A histogram, or the statistic of the digit before, which is as wide as it is long."""
        if statistic.ndim == 1:
            state.counts[place % len(op.keep)] += statistic
        else:
            state.before = statistic

    def finish(self, op: DigitsOverTensors, state: _Digits) -> Statistic:
        """The digit of every model."""
        rows = range(len(op.keep))
        before = state.before if state.before is not None else np.zeros((len(op.keep), 3), int)
        found = [
            next_digit(state.counts[i], int(before[i, 0]), int(before[i, 1]), op.keep[i])
            for i in rows
        ]
        return np.array(found, dtype=np.int64)


register_fold(SumOverTensors, SumFold())
register_fold(DigitsOverTensors, DigitsFold())
register_reduction(DigitHistogram, DigitHistogramReduction())


@register_small(KeepTies)
def keep_ties(op: KeepTies, statistics: Sequence[Statistic]) -> Statistic:
    """The model's threshold, ties kept everywhere."""
    return np.array([statistics[0][op.place, 0], EVERYWHERE, 0], dtype=np.int64)


@register_small(Pick)
def pick(op: Pick, statistics: Sequence[Statistic]) -> Statistic:
    """One number."""
    return np.array(statistics[0][op.place])


@register_small(Shares)
@QUIET
def shares(op: Shares, statistics: Sequence[Statistic]) -> Statistic:
    """x_i / sum_j x_j."""
    values = statistics[0]
    total = exact_sum(values)
    return values / total if total else np.full(len(values), 1 / len(values))


@register_small(InverseRootShares)
def inverse_root_shares(op: InverseRootShares, statistics: Sequence[Statistic]) -> Statistic:
    """x_i^-1/2 / sum_j x_j^-1/2, zeros left out; equal shares where all are zero."""
    squares = np.concatenate([np.ravel(statistic) for statistic in statistics])
    parts = np.array([1 / math.sqrt(square) if square else 0.0 for square in squares])
    total = exact_sum(parts)
    return parts / total if total else np.full(len(parts), 1 / len(parts))


@register_small(Affine)
def affine(op: Affine, statistics: Sequence[Statistic]) -> Statistic:
    """factor * x + offset."""
    return np.array(op.factor * float(statistics[0]) + op.offset)
