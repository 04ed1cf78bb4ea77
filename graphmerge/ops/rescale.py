"""Rescaling a delta by a statistic, such as what restores its L1 norm after dropping entries."""

from __future__ import annotations

from typing import ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space
from graphmerge.ops.block_sums import AbstractBlockSums
from graphmerge.ops.checks import all_in, same_compute_spec, shared_space
from graphmerge.ops.small import AbstractSmall
from graphmerge.spec import DType, TensorSpec

SCALAR = TensorSpec((), DType.F64)
"""Spec of a statistic that is one number."""


@frozen(cache_hash=True)
class AbsoluteSum(AbstractBlockSums):
    """sum |x|: the L1 norm, in float64 over numerics blocks."""

    kind: ClassVar[str] = "absolute-sum"

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One number."""
        same_compute_spec(inputs)
        return SCALAR

    def sum_columns(self, count: int) -> int:
        """One."""
        return 1

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic of weights or of deltas."""
        shared_space(inputs)
        return Space.STATISTIC

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The magnitudes in float64."""
        return (DType.F64,)


@frozen(cache_hash=True)
class Ratio(AbstractSmall):
    """a / b of two numbers; 1 where b is zero."""

    kind: ClassVar[str] = "ratio"
    why: ClassVar[str] = "a ratio is taken of two statistics"

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One number."""
        return inputs[0]


@frozen(cache_hash=True)
class Rescale(Op):
    """statistic * x, of inputs (x, statistic)."""

    kind: ClassVar[str] = "rescale"
    access: ClassVar[Access] = Access.ELEMENTWISE
    in_place: ClassVar[bool] = True

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Unchanged."""
        return same_compute_spec(inputs[:1])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """Unchanged."""
        all_in(Space.STATISTIC, inputs[1:], "the factor is a statistic")
        return shared_space(inputs[:1])
