"""CART: centred task vectors, cut in rank (arXiv 2412.12153)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.matrices import EXCLUDE, SPACE, merge_with_own_scale
from graphmerge.methods.parameters import own
from graphmerge.methods.ranges import fraction
from graphmerge.ops.matrix_rules import Cart

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """The mean of the models, and the main directions of what each one differs from it by."""
    rule = Cart(fraction(merge, "rank"), merge.number("lambda"))
    return merge_with_own_scale(merge, rule)


METHOD = Method(
    name="cart",
    summary="Averages the models and adds the main directions in which each one differs from it.",
    formula="mean + lambda sum_i cut(T_i - mean), cut to the share `rank` of its directions",
    use_when="a plain average is good, but single tasks get lost in it",
    paper="Revisiting Weight Averaging for Model Merging, arXiv 2412.12153",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.SUBSPACES,
    parameters=(
        own(
            "rank",
            0.04,
            "Share of the singular directions of each difference that is kept, 0 to 1.",
        ),
        own("lambda", 1.0, "Scale of the differences from the average."),
        SPACE,
        EXCLUDE,
    ),
    least_models=2,
)
