"""DARE with sign consensus (arXiv 2311.03099 with 2306.01708)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import DARE_RESCALE, DENSITY, INT8_MASK, SCALE, WEIGHT, normalize
from graphmerge.methods.task_vectors import add_elected, keep_random, sparse_task_vectors

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Drop entries at random, rescale the rest, merge those that agree in sign."""
    return add_elected(merge, sparse_task_vectors(merge, keep_random))


METHOD = Method(
    name="dare_ties",
    summary="Drops task-vector entries at random, rescales the rest, lets signs vote.",
    formula="as ties, with trim(d) = r (m * d), m ~ Bernoulli(density), r by L1 norms",
    use_when="as ties, when task vectors are large and redundant",
    paper="Language models are super Mario, arXiv 2311.03099; TIES-Merging, arXiv 2306.01708",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(WEIGHT, DENSITY, normalize(default=False), DARE_RESCALE, SCALE, INT8_MASK),
    least_models=2,
)
