"""RAM (arXiv 2601.13572): entries that one model has changed are left whole, others averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import own
from graphmerge.methods.ranges import not_negative
from graphmerge.methods.task_vectors import added, task_vectors
from graphmerge.ops.regions import RegionMean

if TYPE_CHECKING:
    from graphmerge.graph import Node

EPSILON = own("epsilon", 1e-5, "An entry counts as changed where |T - B| is above this.")


def build(merge: MergeInputs) -> Node:
    """The mean of the task vectors that have changed an entry."""
    return added(merge, make_node(RegionMean(not_negative(merge, "epsilon")), *task_vectors(merge)))


METHOD = Method(
    name="ram",
    summary="Averages task vectors entry by entry over those models that have changed it.",
    formula="B + sum_i a_i d_i / sum_i a_i, a_i = [|d_i| > epsilon], d_i = T_i - B",
    use_when="fine-tunes (by reinforcement learning) that have changed few and other entries each",
    paper="Reinforced Agent Merging, arXiv 2601.13572",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(EPSILON,),
    least_models=2,
)
