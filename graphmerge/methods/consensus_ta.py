"""Consensus merging by TALL masks (arXiv 2405.07813), its thresholds given instead of tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import SCALE, integer, of_each
from graphmerge.methods.ranges import out_of_range
from graphmerge.methods.task_vectors import add_to_base, task_vectors
from graphmerge.ops.joint_masks import TallMaskSum

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """The sum of all task vectors, where enough of them have a say in it."""
    thresholds = tuple(model.number("mask_threshold") for model in merge.fine_tunes)
    for model, threshold in zip(merge.fine_tunes, thresholds, strict=True):
        if threshold < 0:
            raise out_of_range(merge, "mask_threshold", threshold, "0 or more", model)
    op = TallMaskSum(thresholds, merge.number("least_masks"))
    return add_to_base(merge, make_node(op, *task_vectors(merge)))


METHOD = Method(
    name="consensus_ta",
    summary="Adds up task vectors, but only the entries that enough of them have a say in.",
    formula="B + lambda t [sum_i [|d_i| > l_i |t - d_i|] >= least_masks], t = sum_i d_i",
    use_when="merging many fine-tunes, to drop what serves one of them only",
    paper="Localizing Task Information (TALL masks), arXiv 2405.07813",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        of_each("mask_threshold", 0.4, "l: an entry is this model's if |d| > l |t - d|."),
        integer("least_masks", 2, "How many models must have a say."),
        SCALE,
    ),
    least_models=2,
)
