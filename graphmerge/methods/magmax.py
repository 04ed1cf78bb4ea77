"""MagMax (arXiv 2407.06322): of each entry the largest change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import own
from graphmerge.methods.task_vectors import add_to_base, task_vectors
from graphmerge.ops.joint_masks import LargestOf

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Of each entry the task vector of largest magnitude."""
    return add_to_base(merge, make_node(LargestOf(), *task_vectors(merge)))


METHOD = Method(
    name="magmax",
    summary="Takes of each entry the task vector that has changed it most.",
    formula="B + lambda d_j, j = argmax_i |d_i| entry by entry, d_i = T_i - B",
    use_when="fine-tunes were trained one after the other, each from the one before",
    paper="MagMax, arXiv 2407.06322",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        own("lambda", 0.5, "Scale of the merged task vector before it is added to the base."),
    ),
    least_models=2,
)
