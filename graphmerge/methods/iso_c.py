"""Iso-C: isotropic merging in the common subspace (arXiv 2502.04959)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.matrices import SHARED, merge_matrices
from graphmerge.ops.matrix_rules import IsoC

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Set all singular values of the sum of the task vectors to their mean."""
    return merge_matrices(merge, IsoC())


METHOD = Method(
    name="iso_c",
    summary="Adds the task vectors and sets all singular values of the sum to their mean.",
    formula="B + lambda mean(S) U V^T, U S V^T = sum_i (T_i - B)",
    use_when="a few directions that tasks share drown those of single tasks",
    paper="No Task Left Behind, arXiv 2502.04959",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.SUBSPACES,
    parameters=SHARED,
    least_models=2,
)
