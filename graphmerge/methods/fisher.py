"""Fisher-weighted averaging (arXiv 2111.09832)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method, StatisticsRule
from graphmerge.methods.parameters import WEIGHT_NOT_NEGATIVE, own, switch
from graphmerge.methods.ranges import number_above, weights_not_negative
from graphmerge.methods.whole_model import one_value, squared_norms
from graphmerge.ops.fisher import FisherAverage

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.methods.base import Survey


def survey(merges: tuple[MergeInputs, ...]) -> Survey:
    """The squared norm of each model's Fisher matrix, over all tensors."""
    if not one_value(merges, "normalize", lambda merge: merge.flag("normalize")):
        return {}
    return {"squares": (squared_norms(merges, _fishers),)}


def build(merge: MergeInputs) -> Node:
    """sum_i c_i F_i T_i / sum_i c_i F_i, entry by entry."""
    weights = weights_not_negative(merge.models)
    norms = merge.survey.get("squares", ())
    floor = number_above(merge, "floor", 0)
    op = FisherAverage(weights, floor, has_norms=bool(norms))
    return make_node(op, *merge.nodes, *_fishers(merge), *norms)


def _fishers(merge: MergeInputs) -> list[Node]:
    return [model.statistics for model in merge.models if model.statistics is not None]


METHOD = Method(
    name="fisher",
    summary="Averages each entry by how much each model's data depend on it.",
    formula="sum_i c_i F_i T_i / sum_i c_i F_i, F_i >= floor the diagonal Fisher matrix, "
    "c_i = w_i / |F_i|",
    use_when="there is a diagonal Fisher matrix of every model, as a checkpoint",
    paper="Fisher merging, arXiv 2111.09832",
    build=build,
    survey=survey,
    wants_survey=lambda parameters, _: bool(parameters["normalize"]),
    base=BaseRule.NONE,
    group=Group.STATISTICS,
    parameters=(
        WEIGHT_NOT_NEGATIVE,
        switch(
            "normalize",
            default=True,
            doc="Divide each weight by the norm of the model's whole Fisher matrix.",
        ),
        own("floor", 1e-6, "Entries of a Fisher matrix count as this at least; above 0."),
    ),
    statistics=StatisticsRule.ENTRIES,
)
