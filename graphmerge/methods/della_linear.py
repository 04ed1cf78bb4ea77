"""DELLA with a linear combination (arXiv 2406.11617)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.della import EPSILON, keep_ranked
from graphmerge.methods.parameters import DENSITY, INT8_MASK, SCALE, WEIGHT, normalize, rescale
from graphmerge.methods.task_vectors import add_weighted, sparse_task_vectors

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Drop entries at random by rank, rescale the rest, add them up."""
    return add_weighted(merge, sparse_task_vectors(merge, keep_ranked))


METHOD = Method(
    name="della_linear",
    summary="Drops small task-vector entries sooner than large ones, at random; adds the rest.",
    formula="B + lambda sum_i w_i r_i (m_i * d_i), P(m) = density - eps + 2 eps rank / (n - 1)",
    use_when="as dare_linear, when large changes matter more than small ones",
    paper="DELLA-Merging, arXiv 2406.11617",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        WEIGHT,
        DENSITY,
        EPSILON,
        normalize(default=False),
        rescale(default=True),
        SCALE,
        INT8_MASK,
    ),
    least_models=2,
)
