"""Adds the part of one task vector that is perpendicular to another."""

from __future__ import annotations

from graphmerge.graph import Node, make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.gram import combined
from graphmerge.methods.parameters import own
from graphmerge.methods.task_vectors import task_vectors
from graphmerge.ops.arithmetic import AddDelta
from graphmerge.ops.coefficients import PerpendicularCoefficients


def build(merge: MergeInputs) -> Node:
    """A + alpha (d_B - d_A <d_A, d_B> / |d_A|^2), each tensor as one vector."""
    first, _ = merge.fine_tunes
    part = combined(PerpendicularCoefficients(merge.number("alpha")), *task_vectors(merge))
    return make_node(AddDelta(), first.node, part)


METHOD = Method(
    name="add_perpendicular",
    summary="Adds to the first model what of the second's task vector is perpendicular to its own.",
    formula="A + alpha (d_B - d_A <d_A, d_B> / |d_A|^2), d task vectors",
    use_when="adding a skill without more or less of the one at hand; the order matters",
    paper="ljleb, sd-mecha, 2024",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(own("alpha", 1.0, "How much of it is added."),),
    least_models=3,
    most_models=3,
)
