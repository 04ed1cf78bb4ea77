"""NuSLERP: spherical interpolation by weights, of models or of task vectors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.gram import around_base, combined, combined_columns, combined_rows
from graphmerge.methods.parameters import WEIGHT, switch
from graphmerge.methods.task_vectors import weights_of
from graphmerge.ops.coefficients import ArcCoefficients

if TYPE_CHECKING:
    from graphmerge.graph import Node

LEAST_WEIGHT_SUM = 1e-6
"""Weights whose sum is smaller give the middle."""


def build(merge: MergeInputs) -> Node:
    """The point at w_2 / (w_1 + w_2) on the arc between the two."""
    first, second = weights_of(merge)
    total = first + second
    t = second / total if abs(total) >= LEAST_WEIGHT_SUM else 0.5
    combine = combined if merge.flag("nuslerp_flatten") else combined_rows
    if combine is combined_rows and merge.flag("nuslerp_row_wise"):
        combine = combined_columns
    return around_base(merge, partial(combine, ArcCoefficients(t)))


METHOD = Method(
    name="nuslerp",
    summary="Spherical interpolation by weights between two models, or two task vectors.",
    formula="(sin((1-t)W) x + sin(tW) y) / sin W, t = w_2 / (w_1 + w_2), W the angle; + B",
    use_when="blending two models by weights; with a base, blending what they have learned",
    paper="Shoemake, Animating rotation with quaternion curves, 1985",
    build=build,
    base=BaseRule.OPTIONAL,
    group=Group.INTERPOLATION,
    parameters=(
        WEIGHT,
        switch(
            "nuslerp_flatten",
            default=True,
            doc="Take each tensor as one vector, else as many along its last axis.",
        ),
        switch(
            "nuslerp_row_wise",
            default=False,
            doc="Without nuslerp_flatten: vectors along the first axis instead.",
        ),
    ),
    least_models=2,
    most_models=2,
    copies_lone_source=True,
)
