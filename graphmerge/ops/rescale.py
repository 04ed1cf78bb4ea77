"""Rescaling a delta by a statistic, such as what restores its L1 norm after dropping entries."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from graphmerge.graph import Access, Fusion, Op, Space, Workspace
from graphmerge.ops.blocks import SUM_WORKSPACE, blocks
from graphmerge.ops.checks import all_in, same_compute_spec, shared_space
from graphmerge.spec import DType, TensorSpec

SCALAR = TensorSpec((), DType.F64)
"""Spec of a statistic that is one number."""


@frozen(cache_hash=True)
class AbsoluteSum(Op):
    """sum |x|: the L1 norm, in float64 over numerics blocks."""

    kind: ClassVar[str] = "absolute-sum"
    access: ClassVar[Access] = Access.REDUCE

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One number."""
        same_compute_spec(inputs)
        return SCALAR

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """One sum of each block."""
        return Fusion(sum_columns=1)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic of weights or of deltas."""
        shared_space(inputs)
        return Space.STATISTIC

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The magnitudes in float64."""
        return (DType.F64,)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """The lanes of the blocks at hand, and the last block padded."""
        return SUM_WORKSPACE

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """One partial sum per block."""
        return 8 * blocks(inputs[0])


@frozen(cache_hash=True)
class Ratio(Op):
    """a / b of two numbers; 1 where b is zero."""

    kind: ClassVar[str] = "ratio"
    access: ClassVar[Access] = Access.SMALL

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One number."""
        return inputs[0]

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic of statistics."""
        return all_in(Space.STATISTIC, inputs, "a ratio is taken of two statistics")


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
