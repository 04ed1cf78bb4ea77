"""Merging linear layers by regression on what their inputs were (RegMean, arXiv 2212.09849)."""

from __future__ import annotations

from typing import ClassVar

from graphmerge.errors import GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Op, Space, Workspace
from graphmerge.ops.checks import all_in, same_compute_spec, shared_space
from graphmerge.ops.matrices import matrix_workspace
from graphmerge.ops.wording import listed
from graphmerge.spec import TensorSpec


@frozen(cache_hash=True)
class CollectMatrices(Op):
    """Stored matrices of one shape as one statistic, for ops on tensors of another size."""

    kind: ClassVar[str] = "collect-matrices"
    access: ClassVar[Access] = Access.REDUCE

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One axis more, over the inputs."""
        spec = same_compute_spec(inputs)
        return TensorSpec((len(inputs), *spec.shape), spec.dtype)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic."""
        all_in(Space.WEIGHT, inputs, "stored matrices are collected")
        return Space.STATISTIC

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A copy of the tiles."""
        return Workspace(len(inputs) * inputs[0].dtype.bits // 8)


@frozen(cache_hash=True)
class RegressByGrams(Op):
    """argmin_x sum_i w_i (||(x - W_i) X_i^T||^2 + r ||x - W_i||^2), X_i the inputs of layer i.

    Inputs are the weights W_i, of shape (out, in), and a statistic with the Gram matrices
    G_i = X_i^T X_i. Off the diagonal these are multiplied by alpha. r is the ridge times the mean
    of the diagonal of sum_i w_i G_i / sum_i w_i, or 1 where that is zero, so that inputs that were
    never seen are averaged. With H_i = G_i + r I the solution is W_1 + D (sum_i w_i H_i)^-1,
    D = sum_i w_i (W_i - W_1) H_i. All arithmetic is in float64.
    """

    kind: ClassVar[str] = "regress-by-grams"
    access: ClassVar[Access] = Access.WHOLE

    weights: tuple[float, ...]
    """w, none negative, one above 0."""
    alpha: float
    """Factor of what is off the diagonal, 0 to 1."""
    ridge: float
    """Above 0."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec of the weights."""
        *weights, grams = inputs
        spec = same_compute_spec(tuple(weights))
        if len(spec.shape) != 2 or grams.shape != (len(weights), *spec.shape[1:] * 2):
            got = f"{list(grams.shape)} for weights of shape {list(spec.shape)}"
            raise GraphError(Problem("no Gram matrices", got=got, wanted="(models, in, in)"))
        return spec

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """As the weights."""
        all_in(Space.STATISTIC, inputs[-1:], "Gram matrices are a statistic")
        return shared_space(inputs[:-1])

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Equations, a Gram matrix or a factor; right sides, a difference, what is subtracted."""
        rows, columns = inputs[0].shape
        return matrix_workspace(2 * columns**2 + 3 * rows * columns)

    def settings(self) -> str:
        """Weights, alpha and ridge."""
        text = listed(self.weights)
        return f"{text}; alpha {self.alpha:g}, ridge {self.ridge:g}"
