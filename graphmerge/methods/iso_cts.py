"""Iso-CTS: isotropic merging in common and task-specific subspaces (arXiv 2502.04959)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.matrices import SHARED, merge_matrices
from graphmerge.methods.parameters import own
from graphmerge.methods.ranges import fraction
from graphmerge.ops.matrix_rules import IsoCts

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Common directions of the sum, beside them some of each task vector, all of one strength."""
    return merge_matrices(merge, IsoCts(fraction(merge, "common")))


METHOD = Method(
    name="iso_cts",
    summary="As iso_c, with the weakest common directions replaced by directions of single tasks.",
    formula="B + lambda mean(S) U V^T, of the first k directions of sum_i (T_i - B) "
    "and (rank-k)/n of each T_i - B beside them; U, V made orthogonal",
    use_when="as iso_c, with many or very different tasks",
    paper="No Task Left Behind, arXiv 2502.04959",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.SUBSPACES,
    parameters=(
        own(
            "common", 0.8, "Share of the rank that goes to directions of the sum, 0 to 1; rounded."
        ),
        *SHARED,
    ),
    least_models=2,
)
