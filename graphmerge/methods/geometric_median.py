"""The geometric median (Weiszfeld 1937): an average that outliers do not pull away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.gram import combined
from graphmerge.ops import AddDelta, MedianCoefficients, TaskVector
from graphmerge.recipe.signature import ParameterSpec

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """The point with the least sum of distances to all inputs, from differences to the first."""
    first, *others = (model.node for model in merge.models)
    if not others:
        return first
    op = MedianCoefficients(int(merge.number("max_iter")), merge.number("tol"), merge.number("eps"))
    moved = combined(op, *(make_node(TaskVector(), other, first) for other in others))
    return make_node(AddDelta(), first, moved)


METHOD = Method(
    name="geometric_median",
    summary="The point with the least sum of distances to all models.",
    formula="argmin_y sum_i |T_i - y|",
    use_when="averaging three or more models of which one may be an outlier",
    paper="Weiszfeld 1937; Weiszfeld's algorithm revisited, Beck and Sabach 2015",
    build=build,
    base=BaseRule.NONE,
    group=Group.AVERAGES,
    parameters=(
        ParameterSpec("max_iter", int, 100, per_model=False, doc="Most steps of the iteration."),
        ParameterSpec(
            "tol",
            float,
            1e-20,
            per_model=False,
            doc="Share by which the sum of distances must fall for another step.",
        ),
        ParameterSpec("eps", float, 1e-6, per_model=False, doc="Least distance divided by."),
    ),
)
