"""NearSwap: takes over another model's entries where they are near the base's."""

from __future__ import annotations

from graphmerge.graph import Node, make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.ops.pointwise import NearSwap
from graphmerge.recipe.signature import REQUIRED, ParameterSpec


def build(merge: MergeInputs) -> Node:
    """w T + (1-w) B, w falling with the distance."""
    (other,) = merge.fine_tunes
    return make_node(NearSwap(merge.number("t")), merge.base_node, other.node)


METHOD = Method(
    name="nearswap",
    summary="Takes the other model's entries where they are near the base's.",
    formula="w T + (1-w) B, w = min(max(t / max(|B - T|, 1e-6), 0), 1)",
    use_when="strengthening what two models agree on, leaving the rest of the base alone",
    paper="alchemonaut, NearSwap, 2024",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.INTERPOLATION,
    parameters=(
        ParameterSpec(
            "t", float, REQUIRED, per_model=False, doc="Distance up to which entries are swapped."
        ),
    ),
    least_models=2,
    most_models=2,
)
