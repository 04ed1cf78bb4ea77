"""The Karcher mean: the point on the sphere with the least squared angles to all models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.gram import combined
from graphmerge.ops import KarcherCoefficients
from graphmerge.recipe.signature import ParameterSpec

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """The mean of all inputs' directions, as long as their mean length."""
    op = KarcherCoefficients(int(merge.number("max_iter")), merge.number("tol"))
    return combined(op, *(model.node for model in merge.models))


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
        ParameterSpec("max_iter", int, 10, per_model=False, doc="Most steps of the iteration."),
        ParameterSpec(
            "tol",
            float,
            1e-5,
            per_model=False,
            doc="A step this small ends it; vectors no longer than this have no direction.",
        ),
    ),
)
