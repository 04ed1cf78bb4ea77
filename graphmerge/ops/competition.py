"""Parameters that compete for their place in a merge (PCB-Merging, arXiv 2410.02396)."""

from __future__ import annotations

from typing import ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space, Workspace
from graphmerge.ops.checks import all_in, same_compute_spec
from graphmerge.ops.small import AbstractSmall
from graphmerge.spec import DType, TensorSpec


def _deltas_and_statistic(inputs: tuple[Space, ...]) -> Space:
    all_in(Space.STATISTIC, inputs[-1:], "bounds are a statistic")
    return all_in(Space.DELTA, inputs[:-1], "only task vectors compete")


@frozen(cache_hash=True)
class Magnitudes(AbstractSmall):
    """The magnitudes that the last `DigitsOverTensors` has found, one for each of its rows."""

    kind: ClassVar[str] = "magnitudes"
    why: ClassVar[str] = "magnitudes are taken of digits"

    dtype: DType
    """Dtype of the magnitudes."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """A number for each row."""
        return TensorSpec(inputs[0].shape[:1], DType.F64)


@frozen(cache_hash=True)
class CompetitionScore(Op):
    """exp(n m^2) max(tanh(d_i sum_j d_j), 0) of n deltas: how strong d_i is, and how it agrees.

    m is |d_i| within the bounds (b_0, b_1), mapped to 0 to 1; 0 where they are the same. Inputs are
    d_i, all the deltas, and a statistic with the bounds of each, one after the other. In float64,
    rounded: with E = exp(-2 max(d_i sum_j d_j, 0)) - 1 it is -E / ((2 + E) exp(-n m^2)), of the
    functions in `graphmerge.ops.elementary`.
    """

    kind: ClassVar[str] = "competition-score"
    access: ClassVar[Access] = Access.ELEMENTWISE
    scheduled_alike: ClassVar[bool] = True

    place: int
    """i."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(inputs[:-1])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta: what is selected by is of the kind that is selected from."""
        return _deltas_and_statistic(inputs)

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The sum and the strength in float64, and what exponentials take."""
        return (DType.F64,) * 5

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Which exponentials vanish."""
        return Workspace(1)

    def settings(self) -> str:
        """Which delta."""
        return f"{self.place}"


@frozen(cache_hash=True)
class CompetitionMean(Op):
    """sum_i c_i d_i / max(sum_i c_i, 1e-12), c_i = (max(s_i, t_i) - t_i) / (u_i - t_i).

    Inputs are the deltas d_i, their scores s_i, and a statistic with t_i and u_i of each, one after
    the other; c_i is 0 where these are the same.
    """

    kind: ClassVar[str] = "competition-mean"
    access: ClassVar[Access] = Access.ELEMENTWISE

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(inputs[:-1])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        return _deltas_and_statistic(inputs)

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The sum of shares, one share, and one part."""
        return (inputs[0].dtype,) * 3
