"""Combinations whose coefficients follow from the inner products of the tensors.

One streaming pass takes the Gram matrix, a tiny problem is solved, one more pass takes the weighted
sum: no tensor is held, however often the solution is improved. Of a tensor as many vectors there is
a matrix for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import Node, make_node
from graphmerge.methods.task_vectors import added, task_vectors
from graphmerge.ops.spherical import Combine, Gram
from graphmerge.ops.vectors import ColumnGram, CombineVectors, RowGram

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.methods.base import MergeInputs
    from graphmerge.ops.coefficients import AbstractCoefficients


def combined(coefficients: AbstractCoefficients, *tensors: Node) -> Node:
    """sum_i c_i x_i, every tensor as one vector."""
    gram = make_node(Gram(), *tensors)
    return make_node(Combine(), *tensors, make_node(coefficients, gram))


def combined_rows(coefficients: AbstractCoefficients, *tensors: Node) -> Node:
    """sum_i c_i x_i with coefficients for each row (vector along the last axis)."""
    return _combined_vectors(coefficients, tensors, by_columns=False)


def combined_columns(coefficients: AbstractCoefficients, *tensors: Node) -> Node:
    """sum_i c_i x_i with coefficients for each vector along the first axis."""
    return _combined_vectors(coefficients, tensors, by_columns=True)


def _combined_vectors(
    coefficients: AbstractCoefficients, tensors: tuple[Node, ...], *, by_columns: bool
) -> Node:
    """Vector by vector; tensors of one axis, and empty ones, are one vector."""
    spec = tensors[0].spec
    if len(spec.shape) < 2 or not spec.numel:
        return combined(coefficients, *tensors)
    rows = spec.shape[0] if by_columns else spec.numel // spec.shape[-1]
    row = spec.numel // rows
    gram = make_node(ColumnGram(row) if by_columns else RowGram(rows, row), *tensors)
    return make_node(CombineVectors(row, by_columns), *tensors, make_node(coefficients, gram))


def around_base(merge: MergeInputs, combine: Callable[..., Node]) -> Node:
    """`combine` of the task vectors, added to the base; of the models where there is no base."""
    if merge.base is None:
        return combine(*merge.nodes)
    return added(merge, combine(*task_vectors(merge)))
