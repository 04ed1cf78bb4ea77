"""Spherical interpolation by the Gram matrix.

Every spherical mean of tensors is a combination of them whose coefficients depend only on their
inner products. So one streaming pass takes the Gram matrix, a tiny solve gives the coefficients,
and a second pass takes the combination; no tensor is ever held.
"""

from __future__ import annotations

from typing import ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space
from graphmerge.ops.block_sums import AbstractBlockSums
from graphmerge.ops.checks import all_in, same_compute_spec, shared_space
from graphmerge.ops.coefficients import AbstractCoefficients
from graphmerge.ops.vectors import pair_count
from graphmerge.spec import DType, TensorSpec


@frozen(cache_hash=True)
class Gram(AbstractBlockSums):
    """The matrix of inner products <x_i, x_j>, in float64 over numerics blocks."""

    kind: ClassVar[str] = "gram"

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """n by n for n inputs."""
        same_compute_spec(inputs)
        return TensorSpec((len(inputs), len(inputs)), DType.F64)

    def sum_columns(self, count: int) -> int:
        """One for every pair."""
        return pair_count(count)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic of weights or of deltas."""
        shared_space(inputs)
        return Space.STATISTIC

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """Every input in float64, and a product."""
        return (DType.F64,) * (len(inputs) + 1)


@frozen(cache_hash=True)
class SphericalCoefficients(AbstractCoefficients):
    """Coefficients (c_0, c_1) of slerp between two vectors, from their Gram matrix.

    Shoemake, Animating rotation with quaternion curves, 1985: c_0 = sin((1-t)W)/sin W and
    c_1 = sin(tW)/sin W for the angle W between them; linear where they are nearly (anti)parallel.
    """

    kind: ClassVar[str] = "spherical-coefficients"

    t: float
    """0 gives the first vector, 1 the second."""
    parallel_cosine: float = 0.9995
    """|cos W| above which interpolation is linear."""
    least_norm: float = 1e-8
    """Norms up to this are not normalised."""

    def settings(self) -> str:
        """The position between the two."""
        return f"t={self.t:g}"


@frozen(cache_hash=True)
class Combine(Op):
    """sum_i c_i x_i, of inputs (x_1, ..., x_n, c) with the coefficients as a statistic."""

    kind: ClassVar[str] = "interpolate"
    access: ClassVar[Access] = Access.ELEMENTWISE
    in_place: ClassVar[bool] = True

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(inputs[:-1])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """The common space."""
        all_in(Space.STATISTIC, inputs[-1:], "coefficients are a statistic")
        return shared_space(inputs[:-1])

    def settings(self) -> str:
        """Which interpolation."""
        return "spherical"
