"""ExPO (arXiv 2404.16792): goes on in the direction that alignment has taken."""

from __future__ import annotations

from graphmerge.graph import Node, make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import own
from graphmerge.methods.task_vectors import task_vectors
from graphmerge.ops.arithmetic import AddDelta


def build(merge: MergeInputs) -> Node:
    """T + alpha (T - B)."""
    (aligned,), (delta,) = merge.fine_tunes, task_vectors(merge)
    return make_node(AddDelta(merge.number("alpha")), aligned.node, delta)


METHOD = Method(
    name="expo",
    summary="Extrapolates from the base through the fine-tune and beyond.",
    formula="T + alpha (T - B), T aligned by preferences, B the model that it started from",
    use_when="a model was aligned (DPO, RLHF) for too short; no second fine-tune needed",
    paper="Model extrapolation expedites alignment, arXiv 2404.16792",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(own("alpha", 0.3, "How far beyond, 0.3 to 0.5."),),
    least_models=2,
    most_models=2,
)
