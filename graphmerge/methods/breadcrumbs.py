"""Model Breadcrumbs (arXiv 2312.06795): task vectors without outliers and without dust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method, ModelInput
from graphmerge.methods.parameters import (
    DENSITY,
    INT8_MASK,
    SCALE,
    WEIGHT,
    normalize,
    of_each,
    rescale,
)
from graphmerge.methods.ranges import fraction_of
from graphmerge.methods.task_vectors import (
    add_weighted,
    density_of,
    sparse_task_vectors,
    without_outliers,
)

if TYPE_CHECKING:
    from graphmerge.graph import Node

PARAMETERS = (
    WEIGHT,
    DENSITY,
    of_each("gamma", 0.01, "Fraction of the largest entries to leave out as outliers."),
    normalize(default=False),
    rescale(default=False),
    SCALE,
    INT8_MASK,
)
"""With or without signs that vote."""


def keep_middle(merge: MergeInputs, model: ModelInput, delta: Node) -> Node:
    """The model's `density` of the entries, the largest but for the `gamma` that come first."""
    return without_outliers(delta, density_of(merge, model), fraction_of(merge, model, "gamma"))


def build(merge: MergeInputs) -> Node:
    """Leave out the largest and the least entries of each task vector, add up the rest."""
    return add_weighted(merge, sparse_task_vectors(merge, keep_middle))


METHOD = Method(
    name="breadcrumbs",
    summary="Adds task vectors without their largest and their least entries to the base.",
    formula="B + lambda sum_i w_i crumbs(T_i - B): skip the gamma largest, keep the next density",
    use_when="as task arithmetic, when a few extreme changes do harm",
    paper="Model Breadcrumbs, arXiv 2312.06795",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=PARAMETERS,
    least_models=2,
)
