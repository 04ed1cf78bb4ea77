"""Model Breadcrumbs with sign consensus (arXiv 2312.06795 with 2306.01708)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.breadcrumbs import PARAMETERS, keep_middle
from graphmerge.methods.task_vectors import add_elected, sparse_task_vectors

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Leave out the largest and the least entries, merge those that agree in sign."""
    return add_elected(merge, sparse_task_vectors(merge, keep_middle))


METHOD = Method(
    name="breadcrumbs_ties",
    summary="Leaves out the largest and least task-vector entries, lets signs vote on the rest.",
    formula="as ties, with trim(d) = crumbs(d): skip the gamma largest, keep the next density",
    use_when="as ties, when a few extreme changes do harm",
    paper="Model Breadcrumbs, arXiv 2312.06795; TIES-Merging, arXiv 2306.01708",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=PARAMETERS,
    least_models=2,
)
