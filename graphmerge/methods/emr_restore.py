"""The model of one task from what EMR-Merging (arXiv 2405.17461) keeps of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import make_node
from graphmerge.methods.base import (
    RESCALERS,
    BaseRule,
    Group,
    MergeInputs,
    Method,
    StatisticsRule,
)
from graphmerge.methods.parameters import SCALE
from graphmerge.methods.task_vectors import add_to_base, task_vector
from graphmerge.ops.arithmetic import in_dtype
from graphmerge.ops.rescale import Rescale
from graphmerge.ops.task_masks import MOST_TASKS, KeepWhereBit, NumberAt, mask_dtype
from graphmerge.recipe.signature import REQUIRED, ParameterSpec
from graphmerge.spec import DType

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """B + lambda r_i m_i (U - B)."""
    (model,) = merge.fine_tunes
    assert model.statistics is not None, "the builder finds masks of every tensor"
    assert model.of_model is not None, "and the factors beside them"
    factors, task = model.of_model, int(merge.number("task"))
    _check(model.statistics, factors, task)
    kept = make_node(KeepWhereBit(task), task_vector(merge, model), model.statistics)
    factor = make_node(NumberAt(task), in_dtype(DType.F64, factors))
    return add_to_base(merge, make_node(Rescale(), kept, factor))


def _check(masks: Node, factors: Node, task: int) -> None:
    """Raises RecipeError where there is no such task, or masks and factors are not of the same."""
    count = factors.spec.numel
    if len(factors.spec.shape) != 1 or not 1 <= count <= MOST_TASKS:
        wanted = f"a row of 1 to {MOST_TASKS} numbers"
        raise RecipeError(Problem(f"{RESCALERS} is no list", got=str(factors.spec), wanted=wanted))
    if not 0 <= task < count:
        raise RecipeError(Problem("unknown task", "task", f"{task}", f"0 to {count - 1}"))
    if masks.spec.dtype is not mask_dtype(count):
        what = f"masks are not those of the {count} tasks that {RESCALERS} has"
        got, wanted = masks.spec.dtype.value, mask_dtype(count).value
        raise RecipeError(Problem(what, got=got, wanted=wanted))


METHOD = Method(
    name="emr_restore",
    summary="Restores the model of one task from a unified model and what emr_masks has written.",
    formula="B + lambda r_i m_i (U - B), U the unified model of emr",
    use_when="emr and emr_masks have been run, and the model of one of their tasks is wanted",
    paper="EMR-Merging, arXiv 2405.17461",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        ParameterSpec(
            "task",
            int,
            REQUIRED,
            per_model=False,
            doc="Task whose model is restored: its number among the models of emr_masks, from 0.",
        ),
        SCALE,
    ),
    statistics=StatisticsRule.MASKS,
    least_models=2,
    most_models=2,
)
