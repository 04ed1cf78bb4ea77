"""ACTMat: regression with covariances estimated from weights (arXiv 2604.01329)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.matrices import SHARED, merge_matrices
from graphmerge.methods.parameters import WEIGHT_NOT_NEGATIVE
from graphmerge.methods.ranges import weights_not_negative
from graphmerge.ops.matrix_rules import ActMat

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """RegMean of the task vectors, with t^T t in place of the covariance of the inputs."""
    return merge_matrices(merge, ActMat(weights_not_negative(merge.fine_tunes)))


METHOD = Method(
    name="actmat",
    summary="Weighs the inputs of each layer by how much each task vector responds to them.",
    formula="B + lambda (sum_i w_i t_i G_i)(sum_i w_i G_i)^+, t_i = T_i - B, G_i = t_i^T t_i",
    use_when="regmean would be right, but there are no statistics of data",
    paper="ACTMat, arXiv 2604.01329",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.SUBSPACES,
    parameters=(WEIGHT_NOT_NEGATIVE, *SHARED),
    least_models=2,
)
