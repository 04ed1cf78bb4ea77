"""SCE (arXiv 2408.07990): select where task vectors differ, calculate weights, erase minorities."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.order_statistics import last_digit
from graphmerge.methods.parameters import own
from graphmerge.methods.ranges import fraction
from graphmerge.methods.task_vectors import added, task_vectors
from graphmerge.ops.sparsify import KeepLargest, TieCutoff
from graphmerge.ops.spherical import Gram
from graphmerge.ops.variance import EnergyConsensus, EnergyShares, ShareDigits, Variance, Where

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Keep entries of high variance, weight models by their energy there, let signs vote."""
    share, deltas = fraction(merge, "select_topk"), task_vectors(merge)
    if share < 1:
        varied = most_varied(deltas, share)
        deltas = tuple(make_node(Where(others_are_zero=False), delta, varied) for delta in deltas)
    weights = make_node(EnergyShares(), *(make_node(Gram(), delta) for delta in deltas))
    return added(merge, make_node(EnergyConsensus(), *deltas, weights))


def most_varied(deltas: tuple[Node, ...], share: float) -> Node:
    """The variance of each entry, where it is among the largest `share` of those not zero."""
    variance = make_node(Variance(), *deltas)
    digits = last_digit(variance, partial(ShareDigits, share))
    return make_node(KeepLargest(share), variance, make_node(TieCutoff(), variance, digits))


METHOD = Method(
    name="sce",
    summary="Keeps the entries in which models differ most, weights models by their size there.",
    formula="B + sum_i a_i d_i / sum_i a_i over those of the sign of sum_i d_i, a_i ~ |d_i|^2",
    use_when="fusing fine-tunes of different strength without choosing weights",
    paper="FuseChat, arXiv 2408.07990",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        own("select_topk", 1.0, "Fraction to keep of the entries in which models differ."),
    ),
    least_models=2,
)
