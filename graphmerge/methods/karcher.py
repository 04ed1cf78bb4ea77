"""The Karcher mean: the point on the sphere with the least squared angles to all models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.gram import combined
from graphmerge.methods.parameters import integer, own
from graphmerge.ops.coefficients import KarcherCoefficients

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """The mean of all inputs' directions, as long as their mean length."""
    op = KarcherCoefficients(int(merge.number("max_iter")), merge.number("tol"))
    return combined(op, *merge.nodes)


METHOD = Method(
    name="karcher",
    summary="Riemannian mean of the models' directions, with their mean length.",
    formula="argmin_u sum_i angle(u, T_i)^2, |u| = 1, times mean_i |T_i|",
    use_when="averaging several models on the sphere, none of them special",
    paper="Karcher, Riemannian center of mass and mollifier smoothing, 1977",
    build=build,
    base=BaseRule.NONE,
    group=Group.INTERPOLATION,
    parameters=(
        integer("max_iter", 10, "Most steps of the iteration."),
        own(
            "tol", 1e-5, "A step this small ends it; vectors no longer than this have no direction."
        ),
    ),
)
