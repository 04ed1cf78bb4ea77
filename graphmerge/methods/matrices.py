"""What methods on matrices share: which tensors are matrices, and what becomes of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.factors import merged_factors
from graphmerge.methods.parameters import SCALE
from graphmerge.methods.task_vectors import add_to_base, added, task_vectors
from graphmerge.ops.arithmetic import WeightedSum
from graphmerge.ops.matrices import MergeMatrices
from graphmerge.recipe.signature import ParameterSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.graph import Node
    from graphmerge.methods.base import MergeInputs
    from graphmerge.ops.matrix_rules import MatrixRule

EXCLUDE = ParameterSpec(
    "exclude",
    str,
    "embed, lm_head, wte, wpe",
    per_model=False,
    doc="Parts of names, with commas: such tensors are no matrices here, and averaged.",
)
SPACE = ParameterSpec(
    "space",
    str,
    "full",
    per_model=False,
    doc="Where matrices are merged: `core` is what low-rank task vectors span (arXiv 2509.17786).",
    choices=("full", "core"),
)
SHARED = (SCALE, SPACE, EXCLUDE)
"""Parameters of every method on matrices of task vectors."""


def is_matrix(merge: MergeInputs) -> bool:
    """Whether the tensor has two axes, and no part of its name is in `exclude`."""
    shape = merge.models[0].node.spec.shape
    parts = (part.strip() for part in str(merge.parameters["exclude"]).split(","))
    return len(shape) == 2 and not merge.has_in_name(*filter(None, parts))


def merge_matrices(merge: MergeInputs, rule: MatrixRule) -> Node:
    """B + lambda * rule(T_1 - B, ...); the mean of the task vectors where that is no matrix."""
    return add_to_base(merge, merged_delta(merge, rule))


def merge_with_own_scale(merge: MergeInputs, rule: MatrixRule) -> Node:
    """B + rule(T_1 - B, ...) for a rule that scales by itself; or B + the mean."""
    return added(merge, merged_delta(merge, rule))


def merged_delta(merge: MergeInputs, rule: MatrixRule) -> Node:
    """What the rule makes of the task vectors, or their mean."""
    deltas = task_vectors(merge)
    if not is_matrix(merge):
        return mean(deltas)
    in_core = merge.parameters["space"] == "core"
    factored = merged_factors(merge, rule) if in_core else None
    return factored or make_node(MergeMatrices(rule, in_core), *deltas)


def mean(nodes: Iterable[Node]) -> Node:
    """The mean of nodes."""
    values = tuple(nodes)
    return make_node(WeightedSum((1.0,) * len(values), float(len(values))), *values)
