"""TSV-M: task singular vectors (arXiv 2412.00081)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.matrices import SHARED, merge_matrices
from graphmerge.ops.matrix_rules import TsvM

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Cut task vectors to their share of the rank, make singular vectors orthogonal, add up."""
    return merge_matrices(merge, TsvM())


METHOD = Method(
    name="tsv_m",
    summary="Gives each task vector a share of the rank, their singular vectors made orthogonal.",
    formula="B + lambda U diag(S) V^T, of the first rank/n singular directions of every T_i - B; "
    "U, V made orthogonal",
    use_when="several different tasks interfere; each one keeps directions of its own",
    paper="Task Singular Vectors, arXiv 2412.00081",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.SUBSPACES,
    parameters=SHARED,
    least_models=2,
)
