"""Entries by how many models have changed them (RAM, arXiv 2601.13572)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space, Workspace
from graphmerge.ops.block_sums import SUM_WORKSPACE, AbstractBlockSums
from graphmerge.ops.checks import all_in, same_compute_spec
from graphmerge.ops.small import AbstractSmall
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Hashable


@frozen(cache_hash=True)
class RegionMean(Op):
    """The mean of the entries that are active: |x_i| > epsilon; zero where none is.

    Inputs are deltas and, where entries of a single active model are scaled, a statistic with a
    factor for each.
    """

    kind: ClassVar[str] = "region-mean"
    access: ClassVar[Access] = Access.ELEMENTWISE

    epsilon: float
    """Magnitude above which an entry counts as changed."""
    scaled: bool = False
    """Whether the last input is a statistic with factors."""

    def structure(self) -> Hashable:
        """Whether there are factors."""
        return (type(self), self.scaled)

    def _deltas(self, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return inputs[:-1] if self.scaled else inputs

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(self._deltas(inputs))

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        if self.scaled:
            all_in(Space.STATISTIC, inputs[-1:], "factors are a statistic")
            inputs = inputs[:-1]
        return all_in(Space.DELTA, inputs, "changes are counted in task vectors")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """How many are active, their sum, a part, and the scaled sum."""
        return (inputs[0].dtype,) * 4

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A mask."""
        return Workspace(1)

    def settings(self) -> str:
        """The threshold."""
        return f"epsilon={self.epsilon:g}"


@frozen(cache_hash=True)
class ActiveCounts(AbstractBlockSums):
    """For each delta: entries that it and others have changed, and entries that only it has."""

    kind: ClassVar[str] = "active-counts"
    scheduled_alike: ClassVar[bool] = True

    epsilon: float
    """Magnitude above which an entry counts as changed."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """n by 2 for n deltas."""
        same_compute_spec(inputs)
        return TensorSpec((len(inputs), 2), DType.F64)

    def sum_columns(self, count: int) -> int:
        """Two counts for every delta."""
        return 2 * count

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic of deltas."""
        all_in(Space.DELTA, inputs, "changes are counted in task vectors")
        return Space.STATISTIC

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """How many are active, a part, and what is summed."""
        return (inputs[0].dtype, inputs[0].dtype, DType.F64)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Three masks, and what summing takes."""
        return Workspace(3 + SUM_WORKSPACE.per_element_bytes, SUM_WORKSPACE.fixed_bytes)

    def settings(self) -> str:
        """The threshold."""
        return f"epsilon={self.epsilon:g}"


@frozen(cache_hash=True)
class OverlapFactors(AbstractSmall):
    """1 + r * clip(shared / unique, 0, alpha) for each delta; 1 where it has no unique entry."""

    kind: ClassVar[str] = "overlap-factors"
    why: ClassVar[str] = "factors come from counts"
    scheduled_alike: ClassVar[bool] = True

    r: float
    """How strongly unique entries are raised."""
    alpha: float
    """The most that shared / unique counts for."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """A number per delta."""
        return TensorSpec(inputs[0].shape[:1], DType.F64)

    def settings(self) -> str:
        """Both settings."""
        return f"r={self.r:g}, alpha={self.alpha:g}"
