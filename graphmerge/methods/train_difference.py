"""Train difference: adds what another model has learned where it is news."""

from __future__ import annotations

from graphmerge.graph import Node, make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import own
from graphmerge.ops.pointwise import TrainDifference

STRENGTH = 1.8
"""What the share is multiplied by at alpha 1."""


def build(merge: MergeInputs) -> Node:
    """A + (B - C) m, C the base."""
    a, b = merge.fine_tunes
    op = TrainDifference(STRENGTH * merge.number("alpha"))
    return make_node(op, a.node, b.node, merge.base_node)


METHOD = Method(
    name="train_difference",
    summary="Adds the second model's task vector to the first, most where that lacks it.",
    formula="A + (B - C) m, C the base, m = 1.8 alpha |B - A| / (|B - A| + |B - C|), 0 for 0 / 0",
    use_when="giving a first model what a second one has learned; their order matters",
    paper="hako-mikan, supermerger, 2023",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(own("alpha", 1.0, "How much is added."),),
    least_models=3,
    most_models=3,
)
