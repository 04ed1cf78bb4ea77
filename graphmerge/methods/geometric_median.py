"""The geometric median (Weiszfeld 1937): an average that outliers do not pull away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.gram import combined
from graphmerge.methods.parameters import integer, own
from graphmerge.ops.arithmetic import AddDelta, TaskVector
from graphmerge.ops.coefficients import MedianCoefficients

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """The point with the least sum of distances to all inputs, from differences to the first."""
    first, *others = merge.nodes
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
        integer("max_iter", 100, "Most steps of the iteration."),
        own("tol", 1e-20, "Share by which the sum of distances must fall for another step."),
        own("eps", 1e-6, "Least distance divided by."),
    ),
)
