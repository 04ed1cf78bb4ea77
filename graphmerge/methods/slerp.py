"""Spherical linear interpolation of two models (Shoemake 1985), each tensor as one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.gram import combined
from graphmerge.ops.spherical import SphericalCoefficients
from graphmerge.recipe.signature import REQUIRED, ParameterSpec

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """The point at t on the arc from the base to the other model."""
    (other,) = merge.fine_tunes
    return interpolated(merge.base_node, other.node, merge.number("t"))


def interpolated(first: Node, second: Node, t: float) -> Node:
    """The point at t on the arc from one tensor to another."""
    return combined(SphericalCoefficients(t), first, second)


METHOD = Method(
    name="slerp",
    summary="Spherical interpolation between the base model and one other.",
    formula="(sin((1-t)W) B + sin(tW) T) / sin W, W the angle; linear if |cos W| > 0.9995",
    use_when="blending exactly two models, often with t as a gradient over the layers",
    paper="Shoemake, Animating rotation with quaternion curves, 1985",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.INTERPOLATION,
    parameters=(
        ParameterSpec(
            "t",
            float,
            REQUIRED,
            per_model=False,
            doc="Position between the base (0) and the other model (1).",
        ),
    ),
    least_models=2,
    most_models=2,
    position="t",
    copies_lone_source=True,
)
