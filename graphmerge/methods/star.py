"""STAR: spectral truncation and rescaling (arXiv 2502.10339)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.matrices import SHARED, merge_matrices
from graphmerge.methods.parameters import own
from graphmerge.methods.ranges import number_above
from graphmerge.ops.matrix_rules import Star

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Cut each task vector to the share eta of its nuclear norm, rescale it, take the mean."""
    return merge_matrices(merge, Star(number_above(merge, "eta", 0, most=1)))


METHOD = Method(
    name="star",
    summary="Cuts each task vector to its largest singular values, rescales it, and averages.",
    formula="B + lambda mean_i U_r S_r V_r^T sum(S) / sum(S_r), U S V^T = T_i - B, "
    "r the least with sum(S_r) >= eta sum(S)",
    use_when="task vectors have a few strong directions each, and noise beside them",
    paper="STAR: Spectral Truncation and Rescale for Model Merging, arXiv 2502.10339",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.SUBSPACES,
    parameters=(
        own(
            "eta",
            0.4,
            "Share of the nuclear norm of each task vector that is kept, above 0 and up to 1.",
        ),
        *SHARED,
    ),
    least_models=2,
)
