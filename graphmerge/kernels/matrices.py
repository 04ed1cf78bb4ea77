"""Kernels of merging matrices: whole task vectors, or their cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from graphmerge.kernels.core_space import merged_factors, merged_in_core
from graphmerge.kernels.factorise import all_finite
from graphmerge.kernels.matrix_rules import merged_lying
from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.factors import MergeFactors
from graphmerge.ops.matrices import MergeMatrices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from graphmerge.kernels.core_space import Factors


@register_kernel(MergeMatrices)
def merge_matrices(op: MergeMatrices, tile: Tile) -> None:
    """The rule's result; NaN throughout where a matrix is not finite, as LAPACK refuses those."""
    torch.set_num_threads(1)  # the last bits depend on the number of threads
    matrices = [x.view(tile.shape) for x in tile.inputs]
    output = tile.output.view(tile.shape)
    if not all_finite(*matrices):
        output.fill_(torch.nan)
        return
    merge = merged_in_core if op.in_core else merged_lying
    output.copy_(merge(op.rule, matrices))


@register_kernel(MergeFactors)
def merge_factors(op: MergeFactors, tile: Tile) -> None:
    """The same of task vectors that are given as factors."""
    torch.set_num_threads(1)  # as above
    output = tile.output.view(op.shape)
    if not all_finite(*tile.inputs):
        output.fill_(torch.nan)
        return
    output.copy_(merged_factors(op.rule, list(_factors(op, iter(tile.inputs), output))))


def _factors(op: MergeFactors, inputs: Iterator[Tensor], like: Tensor) -> Iterator[Factors]:
    """B and A of every task vector in float64, B with the scale."""
    rows, columns = op.shape
    for delta in op.deltas:
        if not delta.rank:
            empty = torch.zeros(0, dtype=torch.float64, device=like.device)
            yield empty.view(rows, 0), empty.view(0, columns)
            continue
        a, b = (next(inputs).double() for _ in range(2))
        a, b = a.view(delta.rank, -1), b.view(-1, delta.rank)
        left, right = (a.T, b.T) if delta.is_transposed else (b, a)
        yield left * delta.scale, right
