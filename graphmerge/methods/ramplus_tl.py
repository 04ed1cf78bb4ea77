"""RAM+ with overlap taken per tensor (arXiv 2601.13572)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import own
from graphmerge.methods.ram import EPSILON
from graphmerge.methods.ranges import not_negative
from graphmerge.methods.task_vectors import added, task_vectors
from graphmerge.ops.regions import ActiveCounts, OverlapFactors, RegionMean

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """RAM, with what only one model has changed raised by how much that model shares."""
    deltas, epsilon = task_vectors(merge), not_negative(merge, "epsilon")
    counts = make_node(ActiveCounts(epsilon), *deltas)
    factors = make_node(OverlapFactors(merge.number("r"), merge.number("alpha")), counts)
    return added(merge, make_node(RegionMean(epsilon, scaled=True), *deltas, factors))


METHOD = Method(
    name="ramplus_tl",
    summary="As ram, with entries that one model alone has changed raised by its overlap.",
    formula="as ram; d_i of i alone times 1 + r clip(shared_i / unique_i, 0, alpha)",
    use_when="as ram, when averaging what models share weakens them",
    paper="Reinforced Agent Merging, arXiv 2601.13572",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        EPSILON,
        own("r", 0.1, "How strongly entries of one model alone are raised."),
        own("alpha", 0.2, "The most that shared / unique entries count for."),
    ),
    least_models=2,
)
