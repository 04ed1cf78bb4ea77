"""LiNeS (arXiv 2410.17146): scale a merged task vector, deep layers more than shallow ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import own
from graphmerge.methods.task_vectors import added, task_vectors
from graphmerge.methods.whole_model import distinct, norm_ratios
from graphmerge.ops.arithmetic import Scale, WeightedSum
from graphmerge.ops.rescale import Rescale
from graphmerge.ops.whole_model import Affine
from graphmerge.recipe.signature import REQUIRED, ParameterSpec

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.methods.base import Survey

_BASE_AND_MERGE = 2
"""Models that take part where no tasks are listed."""


def survey(merges: tuple[MergeInputs, ...]) -> Survey:
    """|sum_i d_i|_1 / (T |d|_1) over all tensors, where tasks are listed beside the merge."""
    tasks = len(merges[0].fine_tunes) - 1
    if not tasks:
        return {}
    kept, pairs = distinct(merges), []
    for merge in kept:
        merged, *tuned = task_vectors(merge)
        pairs.append([(_sum(tuned), make_node(Scale(float(tasks)), merged))])
    return {"ratio": norm_ratios(kept, pairs)}


def build(merge: MergeInputs) -> Node:
    """B + s (M - B), with s = alpha outside the layers and growing by beta over them."""
    delta, *_ = task_vectors(merge)
    alpha, rise = merge.number("alpha"), merge.number("beta") * _depth(merge)
    if "ratio" not in merge.survey:
        return added(merge, delta, alpha + rise)
    scale = make_node(Affine(alpha, rise), *merge.survey["ratio"])
    return added(merge, make_node(Rescale(), delta, scale))


def _depth(merge: MergeInputs) -> float:
    """0 for the first layer and outside the layers, 1 for the last."""
    return merge.layer / (merge.layers - 1) if merge.layer and merge.layers > 1 else 0.0


def _sum(deltas: list[Node]) -> Node:
    return make_node(WeightedSum((1.0,) * len(deltas), 1.0), *deltas)


METHOD = Method(
    name="lines",
    summary="Scales what a merge has changed, from alpha in the first layer to alpha + beta.",
    formula="B + (alpha + beta l / (L - 1)) (M - B) in layer l of L, B + alpha (M - B) elsewhere; "
    "with tasks T_i listed after M alpha times |sum_i (T_i - B)|_1 / (n |M - B|_1), whole models",
    use_when="on top of any merge, or of one fine-tune, to keep more of the base in shallow layers",
    paper="LiNeS, arXiv 2410.17146",
    build=build,
    survey=survey,
    wants_survey=lambda _, models: models > _BASE_AND_MERGE,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        own("alpha", 1.0, "Scale in the first layer."),
        ParameterSpec(
            "beta", float, REQUIRED, per_model=False, doc="What the last layer's scale has more."
        ),
    ),
    least_models=2,
)
