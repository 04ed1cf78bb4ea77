"""DARE with a linear combination (arXiv 2311.03099)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import DARE_RESCALE, DENSITY, INT8_MASK, SCALE, WEIGHT, normalize
from graphmerge.methods.task_vectors import add_weighted, keep_random, sparse_task_vectors

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Drop entries of each task vector at random, rescale the rest, add them up."""
    return add_weighted(merge, sparse_task_vectors(merge, keep_random))


METHOD = Method(
    name="dare_linear",
    summary="Drops task-vector entries at random, rescales the rest, adds them to the base.",
    formula="B + lambda sum_i w_i r_i (m_i * (T_i - B)), m_i ~ Bernoulli(density), r_i by L1 norms",
    use_when="as task arithmetic, when task vectors are large and redundant",
    paper="Language models are super Mario, arXiv 2311.03099",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(WEIGHT, DENSITY, normalize(default=False), DARE_RESCALE, SCALE, INT8_MASK),
    least_models=2,
)
