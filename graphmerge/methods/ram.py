"""RAM (arXiv 2601.13572): entries that one model has changed are left whole, others averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import own
from graphmerge.methods.task_vectors import added, task_vectors
from graphmerge.ops import RegionMean

if TYPE_CHECKING:
    from graphmerge.graph import Node

EPSILON = own("epsilon", 1e-5, "An entry counts as changed where |T - B| is above this.")


def epsilon_of(merge: MergeInputs) -> float:
    """The method's epsilon. Raises RecipeError below 0."""
    epsilon = merge.number("epsilon")
    if epsilon < 0:
        where = f"tensor {merge.tensor}"
        raise RecipeError(Problem("epsilon out of range", where, f"{epsilon:g}", "0 or more"))
    return epsilon


def build(merge: MergeInputs) -> Node:
    """The mean of the task vectors that have changed an entry."""
    return added(merge, make_node(RegionMean(epsilon_of(merge)), *task_vectors(merge)))


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
