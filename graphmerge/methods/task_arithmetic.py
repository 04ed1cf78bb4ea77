"""Task arithmetic (arXiv 2212.04089)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import SCALE, WEIGHT, normalize
from graphmerge.methods.task_vectors import add_weighted, task_vectors

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """B + lambda * sum_i w_i (T_i - B)."""
    return add_weighted(merge, task_vectors(merge))


METHOD = Method(
    name="task_arithmetic",
    summary="Adds the weighted task vectors to the base.",
    formula="B + lambda sum_i w_i (T_i - B)",
    use_when="combining skills of fine-tunes of one base; helps most reliably (arXiv 2511.21437)",
    paper="Editing models with task arithmetic, arXiv 2212.04089",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(WEIGHT, normalize(default=False), SCALE),
    least_models=2,
)
