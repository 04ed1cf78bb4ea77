"""Coefficients of a combination of tensors, from their Gram matrix.

A Gram matrix, of shape (n, n), gives n coefficients; one for each of many groups of elements, of
shape (groups, n, n), gives coefficients of shape (n, groups).
"""

from __future__ import annotations

from typing import ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.ops.small import AbstractSmall
from graphmerge.ops.wording import listed
from graphmerge.spec import DType, TensorSpec

LEAST_LENGTH = 1e-7
"""Of a combination of unit vectors: what is shorter is zero, as far as a Gram matrix in float64
tells."""


class AbstractCoefficients(AbstractSmall):
    """Maps a Gram matrix to the coefficients of a combination of its tensors."""

    why: ClassVar[str] = "coefficients come from a Gram matrix"
    scheduled_alike: ClassVar[bool] = True

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """A number per tensor, and per group if there are groups."""
        *groups, count, _ = inputs[0].shape
        return TensorSpec((count, *groups), DType.F64)


@frozen(cache_hash=True)
class ArcCoefficients(AbstractCoefficients):
    """The point at t on the arc from the first vector to the second (Shoemake 1985).

    c = (sin((1-t)W), sin(tW)) / sin W for the angle W between them, (1-t, t) where |sin W| is at
    most `least_sine`.
    """

    kind: ClassVar[str] = "arc-coefficients"

    t: float
    """0 gives the first vector, 1 the second."""
    least_norm: float = 1e-7
    """Shorter vectors count as this long."""
    least_sine: float = LEAST_LENGTH
    """Up to here interpolation is linear."""

    def settings(self) -> str:
        """The position between the two."""
        return f"t={self.t:g}"


@frozen(cache_hash=True)
class DirectionCoefficients(AbstractCoefficients):
    """The weighted mean of directions, as long as the weighted mean length.

    With u_i = x_i / (|x_i| + eps), M = |sum_i w_i u_i| and L = sum_i w_i |x_i|, the mean is
    (L cos eps / M) sum_i w_i u_i; sum_i w_i x_i where M < max(eps, 1e-7). It is what one step of a
    mean on the sphere gives that starts from the mean direction m = sum_i w_i u_i / M: its tangent,
    sum_i w_i (u_i - <u_i, m> m) = M m - <M m, m> m, is zero.
    """

    kind: ClassVar[str] = "direction-coefficients"

    weights: tuple[float, ...]
    """One weight per tensor."""
    eps: float
    """What keeps divisors from zero."""

    def settings(self) -> str:
        """Weights."""
        return listed(self.weights)


@frozen(cache_hash=True)
class KarcherCoefficients(AbstractCoefficients):
    """The Riemannian mean of directions (Karcher 1977), as long as the mean length.

    Begins at the mean direction and goes along the mean T of the logarithms of the others,
    (W_i / sin W_i) (u_i - cos W_i u), until |T| < tol, at most `max_iter` times. Vectors no longer
    than tol have no direction; they count in the mean length.
    """

    kind: ClassVar[str] = "karcher-coefficients"

    max_iter: int
    """Most steps."""
    tol: float
    """Length of a step that ends the iteration, and of a vector that counts as zero."""

    def settings(self) -> str:
        """Where it ends."""
        return f"max_iter={self.max_iter}, tol={self.tol:g}"


@frozen(cache_hash=True)
class StockCoefficients(AbstractCoefficients):
    """t / n for each of n task vectors, t = n c / (1 + (n - 1) c), c their mean cosine.

    t = 0 where the divisor is below 1e-6; norms below 1e-6 count as that (Model Stock, arXiv
    2403.19522).
    """

    kind: ClassVar[str] = "stock-coefficients"

    least: float = 1e-6
    """Least norm, and least divisor."""


@frozen(cache_hash=True)
class MedianCoefficients(AbstractCoefficients):
    """The geometric median of a point and others, given by their differences to it.

    Weiszfeld's iteration of y = sum_i x_i v_i / sum_i v_i, v_i = 1 / max(|x_i - y|, eps), from the
    mean, until sum_i |x_i - y| falls by no more than a share `tol`, at most `max_iter` times. With
    x_0 the point and d_i = x_i - x_0, the median is x_0 + sum_i c_i d_i.
    """

    kind: ClassVar[str] = "median-coefficients"

    max_iter: int
    """Most steps."""
    tol: float
    """Fall of the sum of distances that ends the iteration, as a share of it."""
    eps: float
    """Least distance that is divided by."""

    def settings(self) -> str:
        """Where it ends."""
        return f"max_iter={self.max_iter}, tol={self.tol:g}"


@frozen(cache_hash=True)
class PerpendicularCoefficients(AbstractCoefficients):
    """The part of the second vector that is perpendicular to the first, times alpha."""

    kind: ClassVar[str] = "perpendicular-coefficients"

    alpha: float
    """What it is multiplied by."""

    def settings(self) -> str:
        """The factor."""
        return f"alpha={self.alpha:g}"
