"""EMR-Merging (arXiv 2405.17461): elect, mask and rescale.

The rescaler of a task keeps the mean magnitude of its whole task vector, as the paper has it:
sum |d_i| / sum |m_i u| over all entries of the model. The paper's code adds up means of tensors
instead, so that there small tensors count as much as large ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import SCALE
from graphmerge.methods.task_vectors import add_to_base, task_vectors
from graphmerge.methods.whole_model import distinct, norm_ratios, one_value
from graphmerge.ops.consensus import KeepAgreeing, Unify
from graphmerge.ops.rescale import Rescale
from graphmerge.recipe.signature import ParameterSpec
from graphmerge.recipe.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.graph import Node
    from graphmerge.methods.base import Survey

NO_TASK = "none"
"""The value of `task` that asks for the unified model."""


def survey(merges: tuple[MergeInputs, ...]) -> Survey:
    """The factor of the task's model, over all tensors."""
    index = _task(merges)
    return {} if index is None else {"factor": rescalers(merges, [index])}


def build(merge: MergeInputs) -> Node:
    """B + lambda * the unified task vector, or of a task: what it shares in sign, rescaled."""
    index, deltas = _task((merge,)), task_vectors(merge)
    unified = make_node(Unify(), *deltas)
    if index is None:
        return add_to_base(merge, unified)
    masked = make_node(KeepAgreeing(), unified, deltas[index])
    return add_to_base(merge, make_node(Rescale(), masked, *merge.survey["factor"]))


def rescalers(merges: tuple[MergeInputs, ...], tasks: Sequence[int]) -> tuple[Node, ...]:
    """sum |d_i| / sum |m_i u| over all tensors, for each of these tasks."""
    kept, pairs = distinct(merges), []
    for merge in kept:
        deltas = task_vectors(merge)
        unified, chosen = make_node(Unify(), *deltas), [deltas[index] for index in tasks]
        pairs.append([(delta, make_node(KeepAgreeing(), unified, delta)) for delta in chosen])
    return norm_ratios(kept, pairs)


def _task(merges: Sequence[MergeInputs]) -> int | None:
    """Number of the task's fine-tune; None for the unified model."""
    wanted = str(one_value(merges, "task", lambda merge: merge.parameters["task"]))
    labels = [model.label for model in merges[0].fine_tunes]
    if wanted == NO_TASK:
        return None
    if wanted in labels:
        return labels.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(labels):
        return int(wanted)
    names = f"{NO_TASK}, 0 to {len(labels) - 1}, or one of {', '.join(labels)}"
    raise RecipeError(Problem("unknown task", "task", wanted, names, suggest(wanted, labels)))


METHOD = Method(
    name="emr",
    summary="Elects one unified task vector; of each task, what agrees with it, rescaled.",
    formula="B + lambda u, u the largest of the elected sign; of task i: B + lambda r_i m_i u",
    use_when="one compact model per task is wanted, all made of one shared task vector",
    paper="EMR-Merging, arXiv 2405.17461",
    build=build,
    survey=survey,
    wants_survey=lambda parameters, _: parameters["task"] != NO_TASK,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        ParameterSpec(
            "task",
            str,
            NO_TASK,
            per_model=False,
            doc="Model whose task is restored, by its name or its number from 0; or none.",
        ),
        SCALE,
    ),
    least_models=2,
)
