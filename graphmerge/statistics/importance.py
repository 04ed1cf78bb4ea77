"""Divergences of rows, and the threshold of importance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.importance import QuartileThreshold, RowDivergence, row_elements
from graphmerge.spec import DType
from graphmerge.statistics.registry import (
    Partial,
    Reduction,
    Statistic,
    register_reduction,
    register_small,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.spec import TensorSpec


class RowDivergenceReduction(Reduction):
    """A number per row; a partial result has (number of the row, divergence) in its rows."""

    def begin(self, op: RowDivergence, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """A zero per row."""
        return np.zeros(inputs[0].numel // row_elements(inputs[0]))

    def combine(self, state: Statistic, partial: Partial, start: int) -> None:
        """Rows to their places."""
        state[partial[:, 0].astype(np.int64)] = partial[:, 1]

    def finish(
        self, op: RowDivergence, state: Statistic, statistics: Sequence[Statistic]
    ) -> Statistic:
        """All rows."""
        return state


register_reduction(RowDivergence, RowDivergenceReduction())


@register_small(QuartileThreshold)
def quartile_threshold(op: QuartileThreshold, statistics: Sequence[Statistic]) -> Statistic:
    """Median + 1.5 (q75 - q25), rounded as the magnitudes' dtype rounds."""
    bits = np.ascontiguousarray(statistics[0][:, 0])
    single = op.dtype is DType.F32
    values = bits.astype(np.int32).view(np.float32) if single else bits.view(np.float64)
    median, upper, lower = values
    return np.array(median + values.dtype.type(1.5) * (upper - lower), dtype=np.float64)
