"""What EMR-Merging (arXiv 2405.17461) keeps of each task beside the unified model.

One bit of every entry, and one factor for the whole model: see `emr` for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import make_node
from graphmerge.methods.base import RESCALERS, BaseRule, Group, MergeInputs, Method
from graphmerge.methods.emr import rescalers
from graphmerge.methods.task_vectors import task_vectors
from graphmerge.ops.consensus import Unify
from graphmerge.ops.task_masks import MOST_TASKS, AgreementBits, ListNumbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.graph import Node
    from graphmerge.methods.base import Survey


def survey(merges: tuple[MergeInputs, ...]) -> Survey:
    """The factor of every task's model, over all tensors."""
    return {"factors": rescalers(merges, range(len(merges[0].fine_tunes)))}


def build(merge: MergeInputs) -> Node:
    """Bit i of an entry: whether task i agrees with the unified task vector there."""
    deltas = task_vectors(merge)
    return make_node(AgreementBits(), make_node(Unify(), *deltas), *deltas)


def beside(survey: Survey) -> Mapping[str, Node]:
    """The factors, one for each task."""
    if not survey:
        what, hint = "no tensor to take masks of", "integers are the same for all tasks"
        raise RecipeError(Problem(what, wanted="floats in some tensor of the models", hint=hint))
    return {RESCALERS: make_node(ListNumbers(), *survey["factors"])}


METHOD = Method(
    name="emr_masks",
    summary="Writes masks and factors of all tasks, from which emr_restore makes their models.",
    formula="of each entry bit i: m_i = [u d_i > 0]; of the model r_i = |d_i|_1 / |m_i u|_1",
    use_when="the models of many tasks are to be kept as one unified model and a bit per entry",
    paper="EMR-Merging, arXiv 2405.17461",
    build=build,
    survey=survey,
    record="masks of tasks, a bit of each entry for each, and the factors of tasks; with the base "
    "and the unified model that `emr` makes they give the model of each task by `emr_restore`",
    beside=beside,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    least_models=2,
    most_models=MOST_TASKS + 1,
)
