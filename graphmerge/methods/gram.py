"""Combinations whose coefficients follow from the inner products of the tensors.

One streaming pass takes the Gram matrix, a tiny problem is solved, one more pass takes the weighted
sum: no tensor is held, however often the solution is improved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import Node, make_node
from graphmerge.methods.task_vectors import task_vector
from graphmerge.ops import AddDelta, Combine, Gram

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.methods.base import MergeInputs
    from graphmerge.ops.coefficients import AbstractCoefficients


def combined(coefficients: AbstractCoefficients, *tensors: Node) -> Node:
    """sum_i c_i x_i, every tensor as one vector."""
    gram = make_node(Gram(), *tensors)
    return make_node(Combine(), *tensors, make_node(coefficients, gram))


def around_base(merge: MergeInputs, combine: Callable[..., Node]) -> Node:
    """`combine` of the task vectors, added to the base; of the models where there is no base."""
    if merge.base is None:
        return combine(*(model.node for model in merge.models))
    deltas = (task_vector(merge, model) for model in merge.fine_tunes)
    return make_node(AddDelta(), merge.base.node, combine(*deltas))
