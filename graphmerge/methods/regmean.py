"""RegMean: linear layers merged by regression (arXiv 2212.09849)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method, StatisticsRule
from graphmerge.methods.parameters import WEIGHT_NOT_NEGATIVE, own
from graphmerge.methods.ranges import fraction, number_above, weights_not_negative
from graphmerge.ops.arithmetic import weighted
from graphmerge.ops.regression import CollectMatrices, RegressByGrams

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """(sum_i w_i T_i G_i)(sum_i w_i G_i)^-1; the weighted mean of a tensor without G_i."""
    weights = weights_not_negative(merge.models)
    given = (model.statistics for model in merge.models)
    grams = [gram for gram in given if gram is not None]
    if not grams:
        return make_node(weighted(weights, normalize=True), *merge.nodes)
    alpha = fraction(merge, "alpha")
    ridge = number_above(merge, "ridge", 0)
    collected = make_node(CollectMatrices(), *grams)
    return make_node(RegressByGrams(weights, alpha, ridge), *merge.nodes, collected)


METHOD = Method(
    name="regmean",
    summary="Finds the linear layer that differs least in output from each one on its own inputs.",
    formula="(sum_i w_i T_i G_i)(sum_i w_i G_i)^-1, G_i = X_i^T X_i of the layer's inputs, "
    "alpha G_i off the diagonal; sum_i w_i T_i / sum_i w_i for what has no G_i",
    use_when="there are Gram matrices of the inputs of the linear layers, as a checkpoint",
    paper="RegMean, arXiv 2212.09849",
    build=build,
    base=BaseRule.NONE,
    group=Group.STATISTICS,
    parameters=(
        WEIGHT_NOT_NEGATIVE,
        own("alpha", 0.9, "Factor of Gram matrices off the diagonal, 0 to 1; 0 is by columns."),
        own("ridge", 1e-8, "Share of the mean of the diagonal that is added to it; above 0."),
    ),
    statistics=StatisticsRule.GRAMS,
)
