"""TIES-Merging (arXiv 2306.01708), its statistics taken per tensor or, as in the paper, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import DENSITY, INT8_MASK, SCALE, WEIGHT, normalize, rescale
from graphmerge.methods.task_vectors import (
    add_elected,
    add_to_base,
    keep_largest,
    sparse_task_vectors,
    task_vectors,
    weights_of,
)
from graphmerge.methods.whole_model import (
    SCOPE,
    distinct,
    norm_ratios,
    scope_of,
    sums_over_tensors,
    survey_thresholds,
    trimmed,
)
from graphmerge.ops.checks import within_float32
from graphmerge.ops.consensus import SignBalance, elected
from graphmerge.ops.rescale import Rescale

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.methods.base import Survey


def survey(merges: tuple[MergeInputs, ...]) -> Survey:
    """With `scope: model` thresholds, factors that restore norms, and the majority of signs."""
    if scope_of(merges) == "tensor":
        return {}
    tensors = distinct(merges)
    found = dict(survey_thresholds(tensors))
    if any(merge.flag("rescale") for merge in tensors):
        pairs = [
            list(zip(task_vectors(merge), trimmed(merge, found), strict=True)) for merge in tensors
        ]
        found["factors"] = norm_ratios(tensors, pairs)
    balances = [
        [make_node(SignBalance(within_float32(weights_of(merge))), *_sparse(merge, found))]
        for merge in tensors
    ]
    return found | {"balance": (sums_over_tensors(tensors, balances),)}


def build(merge: MergeInputs) -> Node:
    """Trim each task vector to its largest entries, elect signs, merge the entries that agree."""
    if merge.parameters["scope"] == "tensor":
        return add_elected(merge, sparse_task_vectors(merge, keep_largest))
    consensus = elected(weights_of(merge), normalize=merge.flag("normalize"), has_balance=True)
    sparse = _sparse(merge, merge.survey)
    return add_to_base(merge, make_node(consensus, *sparse, *merge.survey["balance"]))


def _sparse(merge: MergeInputs, found: Survey) -> list[Node]:
    """Trimmed task vectors, with the L1 norm over the whole model restored if `rescale`."""
    kept = trimmed(merge, found)
    if not merge.flag("rescale"):
        return kept
    return [make_node(Rescale(), *pair) for pair in zip(kept, found["factors"], strict=True)]


METHOD = Method(
    name="ties",
    summary="Trims task vectors to their largest entries and merges those that agree in sign.",
    formula="B + lambda sum_i [sign agrees] w_i trim(T_i - B) / sum_i [sign agrees] w_i",
    use_when="merging several fine-tunes whose changes conflict",
    paper="TIES-Merging, arXiv 2306.01708",
    build=build,
    survey=survey,
    wants_survey=lambda parameters, _: parameters["scope"] == "model",
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        WEIGHT,
        DENSITY,
        normalize(default=True),
        rescale(default=False),
        SCALE,
        SCOPE,
        INT8_MASK,
    ),
    least_models=2,
)
