"""Stored matrices as statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.regression import CollectMatrices
from graphmerge.spec import DType
from graphmerge.statistics.registry import Partial, Reduction, Statistic, register_reduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.spec import TensorSpec


class CollectMatricesReduction(Reduction):
    """Every entry, in the dtype of the inputs."""

    def begin(self, op: CollectMatrices, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """Matrices of the inputs' size."""
        spec = op.infer(inputs)
        return np.empty(spec.shape, np.float64 if spec.dtype is DType.F64 else np.float32)

    def combine(self, state: Statistic, partial: Partial, start: int) -> None:
        """Entries to their places."""
        state.reshape(len(state), -1)[:, start : start + partial.shape[1]] = partial

    def finish(
        self, op: CollectMatrices, state: Statistic, statistics: Sequence[Statistic]
    ) -> Statistic:
        """The matrices."""
        return state


register_reduction(CollectMatrices, CollectMatricesReduction())
