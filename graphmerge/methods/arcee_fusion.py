"""Arcee Fusion: take over the changes that matter, by how far they move a row's softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.order_statistics import kth_largest
from graphmerge.methods.task_vectors import added, task_vectors
from graphmerge.ops.importance import (
    Importance,
    KeepImportant,
    QuartileThreshold,
    RowDivergence,
    row_elements,
)

if TYPE_CHECKING:
    from graphmerge.graph import Node

QUANTILES = (0.5, 0.75, 0.25)
"""Median, upper and lower quartile."""


def build(merge: MergeInputs) -> Node:
    """The base with the important changes of the other model."""
    (delta,), (other,) = task_vectors(merge), merge.fine_tunes
    if not delta.spec.numel:
        return added(merge, delta)
    divergence = make_node(RowDivergence(), other.node, merge.base_node)
    importance = make_node(Importance(row_elements(delta.spec)), delta, divergence)
    threshold = make_node(QuartileThreshold(delta.spec.dtype), quantiles(importance, *QUANTILES))
    return added(merge, make_node(KeepImportant(), delta, importance, threshold))


def quantiles(values: Node, *shares: float) -> Node:
    """The statistic of the elements at floor(q (n - 1)) in rising order, for every share q."""
    count = values.spec.numel
    return kth_largest(values, *(count - math.floor(q * (count - 1)) for q in shares))


METHOD = Method(
    name="arcee_fusion",
    summary="Takes over those changes of one model that matter most; the rest stays the base.",
    formula="B + d where |d| KL(softmax T || softmax B) >= median + 1.5 (q75 - q25), KL by row",
    use_when="adding to a model the strongest changes of one other",
    paper="Arcee Fusion, Arcee AI 2025",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    least_models=2,
    most_models=2,
    copies_lone_source=True,
)
