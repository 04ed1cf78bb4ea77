"""Multi-SLERP: the mean direction of any number of models or task vectors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.gram import around_base, combined
from graphmerge.methods.parameters import WEIGHT, own, switch
from graphmerge.methods.ranges import not_negative
from graphmerge.methods.task_vectors import weights_of
from graphmerge.ops.checks import normalised
from graphmerge.ops.coefficients import DirectionCoefficients

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """The weighted mean direction, as long as the weighted mean length; a lone model as it is."""
    models = merge.fine_tunes
    if len(models) == 1:
        return models[0].node
    weights = weights_of(merge)
    if merge.flag("normalize_weights"):
        weights = normalised(weights, setting="normalize_weights")
    op = DirectionCoefficients(weights, not_negative(merge, "eps"))
    return around_base(merge, partial(combined, op))


METHOD = Method(
    name="multislerp",
    summary="The mean direction of models or task vectors, with their mean length.",
    formula="m sum_i w_i |x_i|, m = sum_i w_i u_i / |sum_i w_i u_i|, u_i = x_i / |x_i|; + B",
    use_when="slerp, but of more than two models",
    paper="Goddard, Multi-SLERP, 2025",
    build=build,
    base=BaseRule.OPTIONAL,
    group=Group.INTERPOLATION,
    parameters=(
        WEIGHT,
        switch("normalize_weights", default=True, doc="Divide weights by their sum."),
        own("eps", 1e-8, "Added to lengths; a mean of directions below it gives the weighted sum."),
    ),
)
