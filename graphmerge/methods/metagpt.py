"""MetaGPT (arXiv 2406.11385): task arithmetic with weights by the size of task vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import SCALE
from graphmerge.methods.task_vectors import add_to_base, task_vectors
from graphmerge.methods.whole_model import squared_norms
from graphmerge.ops.spherical import Combine
from graphmerge.ops.whole_model import Shares

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.methods.base import Survey


def survey(merges: tuple[MergeInputs, ...]) -> Survey:
    """Each task vector's share of the squared norms, over all tensors."""
    return {"coefficients": (make_node(Shares(), squared_norms(merges, task_vectors)),)}


def build(merge: MergeInputs) -> Node:
    """B + lambda * sum_i c_i (T_i - B)."""
    combined = make_node(Combine(), *task_vectors(merge), *merge.survey["coefficients"])
    return add_to_base(merge, combined)


METHOD = Method(
    name="metagpt",
    summary="Task arithmetic with weights in proportion to the squared size of task vectors.",
    formula="B + lambda sum_i c_i d_i, d_i = T_i - B, c_i = |d_i|^2 / sum_j |d_j|^2, whole models",
    use_when="combining skills when there is no data to tune weights with",
    paper="MetaGPT, arXiv 2406.11385",
    build=build,
    survey=survey,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(SCALE,),
    least_models=2,
)
