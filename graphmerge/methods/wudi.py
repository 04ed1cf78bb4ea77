"""WUDI-Merging, in closed form (arXiv 2503.08099)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.matrices import SHARED, merge_matrices
from graphmerge.methods.parameters import own
from graphmerge.methods.ranges import number_above
from graphmerge.ops.matrix_rules import Wudi

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """The task vector that interferes least with the inputs of every task."""
    return merge_matrices(merge, Wudi(number_above(merge, "ridge", 0)))


METHOD = Method(
    name="wudi",
    summary="Finds the task vector that differs least from each one on what that one responds to.",
    formula="B + lambda (sum_i c_i t_i G_i)(sum_i c_i G_i + ridge I)^-1, t_i = T_i - B, "
    "G_i = t_i^T t_i, c_i = 1/||t_i||^2",
    use_when="several tasks interfere, and nothing is to be tuned",
    paper="WUDI-Merging, arXiv 2503.08099; solved exactly instead of by gradient descent",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.SUBSPACES,
    parameters=(
        own(
            "ridge",
            1e-8,
            "Added to the diagonal of a matrix whose trace is the number of models; above 0.",
        ),
        *SHARED,
    ),
    least_models=2,
)
