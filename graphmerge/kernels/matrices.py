"""Kernel of merging matrices: whole task vectors, or their cores."""

from __future__ import annotations

import torch

from graphmerge.kernels.core_space import merged_in_core
from graphmerge.kernels.matrix_rules import merged_lying
from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.matrices import MergeMatrices


@register_kernel(MergeMatrices)
def merge_matrices(op: MergeMatrices, tile: Tile) -> None:
    """The rule's result; NaN throughout where a matrix is not finite, as LAPACK refuses those."""
    torch.set_num_threads(1)  # the last bits depend on the number of threads
    matrices = [x.view(tile.shape) for x in tile.inputs]
    output = tile.output.view(tile.shape)
    if not all(bool(x.isfinite().all()) for x in matrices):
        output.fill_(torch.nan)
        return
    merge = merged_in_core if op.in_core else merged_lying
    output.copy_(merge(op.rule, matrices))
