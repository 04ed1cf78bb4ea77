"""Passthrough: the tensor as it is; with slices, layer stacking (frankenmerging)."""

from __future__ import annotations

from graphmerge.graph import Node, make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import of_each
from graphmerge.ops.arithmetic import Scale


def build(merge: MergeInputs) -> Node:
    """T, or scale * T."""
    (model,) = merge.models
    scale = model.number("scale")
    return model.node if scale == 1 else make_node(Scale(scale), model.node)


METHOD = Method(
    name="passthrough",
    summary="Copies tensors; with slices, stacks layers of different models.",
    formula="T, or scale * T",
    use_when="stacking layers (frankenmerging, depth up-scaling)",
    paper="SOLAR depth up-scaling, arXiv 2312.15166",
    build=build,
    base=BaseRule.NONE,
    group=Group.LAYERS,
    parameters=(of_each("scale", 1.0, "What the tensor is multiplied by."),),
    most_models=1,
)
