"""What methods on matrices share: which tensors are matrices, and what becomes of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import make_node
from graphmerge.methods.factors import merged_factors
from graphmerge.methods.parameters import SCALE
from graphmerge.methods.task_vectors import add_to_base, task_vector
from graphmerge.ops import AddDelta, MergeMatrices, WeightedSum
from graphmerge.recipe.signature import ParameterSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.graph import Node
    from graphmerge.methods.base import MergeInputs, ModelInput
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
    assert merge.base is not None, "the builder checks that task-vector methods have a base"
    return make_node(AddDelta(1.0), merge.base.node, merged_delta(merge, rule))


def merged_delta(merge: MergeInputs, rule: MatrixRule) -> Node:
    """What the rule makes of the task vectors, or their mean."""
    deltas = [task_vector(merge, model) for model in merge.fine_tunes]
    if not is_matrix(merge):
        return mean(deltas)
    in_core = merge.parameters["space"] == "core"
    factored = merged_factors(merge, rule) if in_core else None
    return factored or make_node(MergeMatrices(rule, in_core), *deltas)


def mean(nodes: Iterable[Node]) -> Node:
    """The mean of nodes."""
    values = tuple(nodes)
    return make_node(WeightedSum((1.0,) * len(values), float(len(values))), *values)


def number_within(merge: MergeInputs, name: str, *, above: float, most: float | None) -> float:
    """A parameter of the method in the range (above, most]. Raises RecipeError outside."""
    value = merge.number(name)
    if value > above and (most is None or value <= most):
        return value
    wanted = f"above {above:g}" + (f", at most {most:g}" if most is not None else "")
    raise RecipeError(
        Problem(f"{name} out of range", f"tensor {merge.tensor}", f"{value:g}", wanted)
    )


def fraction(merge: MergeInputs, name: str) -> float:
    """A parameter of the method from 0 to 1. Raises RecipeError outside."""
    value = merge.number(name)
    if 0 <= value <= 1:
        return value
    where = f"tensor {merge.tensor}"
    raise RecipeError(Problem(f"{name} out of range", where, f"{value:g}", "0 to 1"))


def weights_not_negative(models: Iterable[ModelInput]) -> tuple[float, ...]:
    """The weight of every model. Raises RecipeError for a negative one, or where all are zero."""
    given = {model.label: model.number("weight") for model in models}
    wrong = [
        Problem("negative weight", label, f"{weight:g}", "0 or more")
        for label, weight in given.items()
        if not weight >= 0
    ]
    if not wrong and not any(given.values()):
        wrong = [Problem("all weights are zero", wanted="one above 0")]
    if wrong:
        raise RecipeError(*wrong)
    return tuple(given.values())
