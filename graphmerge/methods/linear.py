"""Weighted average of parameters (model soups, arXiv 2203.05482)."""

from __future__ import annotations

from graphmerge.graph import Node, make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import WEIGHT, normalize
from graphmerge.ops.arithmetic import weighted


def build(merge: MergeInputs) -> Node:
    """sum_i w_i T_i, divided by sum_i w_i if `normalize`."""
    weights = tuple(model.number("weight") for model in merge.models)
    return make_node(weighted(weights, normalize=merge.flag("normalize")), *merge.nodes)


METHOD = Method(
    name="linear",
    summary="Weighted average of the models.",
    formula="sum_i w_i T_i / sum_i w_i",
    use_when="models are fine-tunes of one base by similar data or seeds; a safe first try",
    paper="Model soups, arXiv 2203.05482",
    build=build,
    base=BaseRule.NONE,
    group=Group.AVERAGES,
    parameters=(WEIGHT, normalize(default=True)),
)
