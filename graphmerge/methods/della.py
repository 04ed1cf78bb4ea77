"""DELLA-Merging (arXiv 2406.11617): drop small entries sooner, let signs vote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import make_node
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
from graphmerge.methods.task_vectors import add_elected, density_of, sparse_task_vectors
from graphmerge.ops.arithmetic import Scale
from graphmerge.ops.ranked import KeepMasked, RankedMask

if TYPE_CHECKING:
    from graphmerge.graph import Node

EPSILON = of_each(
    "epsilon", 0.15, "How far the probability of the largest and least entries is from density."
)


def keep_ranked(merge: MergeInputs, model: ModelInput, delta: Node) -> Node:
    """A random choice of the entries, by their rank in a row; all at density 1, none at 0.

    Raises:
        RecipeError: density +- epsilon is not between 0 and 1.
    """
    density, epsilon = density_of(merge, model), model.number("epsilon")
    if density == 1:
        return delta
    if density == 0:
        return make_node(Scale(0.0), delta)
    if not 0 < density - abs(epsilon) <= density + abs(epsilon) < 1:
        where = f"{model.label}, tensor {merge.tensor}"
        got = f"{density:g} and {epsilon:g}"
        wanted = "density - epsilon above 0 and density + epsilon below 1"
        raise RecipeError(Problem("density and epsilon do not fit", where, got, wanted))
    mask = make_node(RankedMask(density, epsilon, merge.mask_key(model)), delta)
    return make_node(KeepMasked(), delta, mask)


def build(merge: MergeInputs) -> Node:
    """Drop entries at random by rank, rescale the rest, merge those that agree in sign."""
    return add_elected(merge, sparse_task_vectors(merge, keep_ranked))


METHOD = Method(
    name="della",
    summary="Drops small task-vector entries sooner than large ones, at random; lets signs vote.",
    formula="as ties, with trim(d) = r (m * d), P(m) = density - eps + 2 eps rank / (n - 1) by row",
    use_when="as dare_ties, when large changes matter more than small ones",
    paper="DELLA-Merging, arXiv 2406.11617",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        WEIGHT,
        DENSITY,
        EPSILON,
        normalize(default=True),
        rescale(default=True),
        SCALE,
        INT8_MASK,
    ),
    least_models=2,
)
