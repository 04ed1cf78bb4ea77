"""TIES-Merging (arXiv 2306.01708), its statistics taken per tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import DENSITY, INT8_MASK, SCALE, WEIGHT, normalize, rescale
from graphmerge.methods.task_vectors import add_elected, keep_largest, sparse_task_vectors

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Trim each task vector to its largest entries, elect signs, merge the entries that agree."""
    return add_elected(merge, sparse_task_vectors(merge, keep_largest))


METHOD = Method(
    name="ties",
    summary="Trims task vectors to their largest entries and merges those that agree in sign.",
    formula="B + lambda sum_i [sign agrees] w_i trim(T_i - B) / sum_i [sign agrees] w_i",
    use_when="merging several fine-tunes whose changes conflict",
    paper="TIES-Merging, arXiv 2306.01708",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(WEIGHT, DENSITY, normalize(default=True), rescale(default=False), SCALE, INT8_MASK),
    least_models=2,
)
