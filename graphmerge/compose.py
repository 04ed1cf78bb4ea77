"""Steps to compose merge methods of, for `merge_graph`: nodes in, a node out.

Nothing is computed: a node says what will be. Mistakes of meaning, such as adding two models, raise
`GraphError` at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import Node, make_node
from graphmerge.methods.slerp import interpolated
from graphmerge.methods.task_vectors import largest, random, restore_norm
from graphmerge.ops.arithmetic import AddDelta, Scale, TaskVector, weighted
from graphmerge.ops.consensus import elected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.methods.base import MergeInputs, ModelInput

__all__ = [
    "add_delta",
    "drop_random",
    "interpolate",
    "keep_largest",
    "restore_norm",
    "scale",
    "sign_consensus",
    "task_vector",
    "weighted_sum",
]


def task_vector(model: Node, base: Node) -> Node:
    """model - base."""
    return make_node(TaskVector(), model, base)


def weighted_sum(
    values: Sequence[Node], weights: Sequence[float], *, normalize: bool = False
) -> Node:
    """sum_i w_i x_i, divided by sum_i w_i if `normalize`. Raises GraphError for a sum of zero."""
    return make_node(weighted(tuple(weights), normalize=normalize), *values)


def scale(value: Node, factor: float) -> Node:
    """factor * x."""
    return make_node(Scale(factor), value)


def add_delta(base: Node, delta: Node, factor: float = 1.0) -> Node:
    """base + factor * delta."""
    return make_node(AddDelta(factor), base, delta)


def keep_largest(delta: Node, density: float) -> Node:
    """The max(1, int(density * N)) entries of largest magnitude, else zero.

    Raises RecipeError for a density outside 0 to 1.
    """
    return largest(delta, _fraction(density))


def drop_random(merge: MergeInputs, model: ModelInput, delta: Node, density: float) -> Node:
    """Each entry with probability `density`, by seed, model, tensor name and flat index only.

    Raises RecipeError for a density outside 0 to 1.
    """
    return random(merge, model, delta, _fraction(density))


def sign_consensus(
    deltas: Sequence[Node], weights: Sequence[float], *, normalize: bool = True
) -> Node:
    """The weighted entries that point where most of the weight points (TIES)."""
    return make_node(elected(tuple(weights), normalize=normalize), *deltas)


def interpolate(first: Node, second: Node, t: float) -> Node:
    """The point at t on the arc from one tensor to another (slerp)."""
    return interpolated(first, second, t)


def _fraction(density: float) -> float:
    if not 0 <= density <= 1:
        raise RecipeError(Problem("density out of range", got=f"{density:g}", wanted="0 to 1"))
    return density
