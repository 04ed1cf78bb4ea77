"""Kernels of merging linear layers by regression. Names end in shapes: m rows, n columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from graphmerge.errors import CheckpointError, Problem
from graphmerge.kernels.factorise import all_finite, with_ridge
from graphmerge.kernels.matrix_rules import zeros
from graphmerge.kernels.registry import ReducedTile, Tile, register_kernel, register_update
from graphmerge.ops.regression import CollectMatrices, RegressByGrams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.statistics import Partial


@register_update(CollectMatrices)
def collect_matrices(op: CollectMatrices, tile: ReducedTile) -> Partial:
    """The entries of the tiles, a row for each."""
    return np.stack([x.cpu().numpy() for x in tile.inputs])


@register_kernel(RegressByGrams)
def regress_by_grams(op: RegressByGrams, tile: Tile) -> None:
    """The merged weight; NaN throughout where anything is not finite, as LAPACK refuses that.

    Raises:
        CheckpointError: a statistic is no Gram matrix.
        MachineError: the equations cannot be solved.
    """
    torch.set_num_threads(1)  # the last bits depend on the number of threads
    weights = [x.view(tile.shape) for x in tile.inputs]
    grams = torch.from_numpy(tile.statistics[0]).to(weights[0].device)
    output = tile.output.view(tile.shape)
    if not all_finite(*weights, *grams.unbind()):
        output.fill_(torch.nan)
        return
    if bool((grams.diagonal(dim1=1, dim2=2) < 0).any()):
        what, wanted = "a Gram matrix has a negative diagonal", "X^T X of the inputs of the layer"
        raise CheckpointError(Problem(what, wanted=wanted))
    output.copy_(_solution(op, weights, grams).add_(weights[0]))


def _solution(
    op: RegressByGrams, weights: Sequence[torch.Tensor], grams: torch.Tensor
) -> torch.Tensor:
    """D (sum_i w_i H_i)^-1, D = sum_i w_i (W_i - W_1) H_i."""
    rows, columns = weights[0].shape
    equations_nn = zeros((columns, columns), weights)
    right_mn = zeros((rows, columns), weights)
    ridge = _ridge(op, grams)
    for w, x, gram in zip(op.weights, weights, grams, strict=True):
        h_nn = _damped(gram, op.alpha, ridge)
        right_mn.addmm_(x.to(torch.float64, copy=True).sub_(weights[0]), h_nn, alpha=w)
        equations_nn.add_(h_nn, alpha=w)
        del h_nn  # before the next one is made
    return with_ridge(equations_nn, right_mn.T).T


def _ridge(op: RegressByGrams, grams: torch.Tensor) -> float:
    """The ridge of an average Gram matrix."""
    pairs = zip(op.weights, grams, strict=True)
    trace = sum(w * float(gram.diagonal().double().sum()) for w, gram in pairs)
    mean = trace / (sum(op.weights) * grams.shape[1]) if trace else 0.0
    return op.ridge * mean or 1.0


def _damped(gram: torch.Tensor, alpha: float, ridge: float) -> torch.Tensor:
    """The matrix in float64, alpha times what is off its diagonal, the ridge on it."""
    h_nn = gram.to(torch.float64, copy=True).mul_(alpha)
    h_nn.diagonal().copy_(gram.diagonal()).add_(ridge)
    return h_nn
