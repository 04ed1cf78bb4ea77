"""WSM (arXiv 2507.17634): learning-rate decay done by averaging checkpoints of a constant rate."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from graphmerge.graph import Node, make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.ops.arithmetic import weighted
from graphmerge.recipe.signature import ParameterSpec

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "1-sqrt": lambda done: 1 - math.sqrt(done),
}
"""What the learning rate would have fallen to, by the share of the decay that is done."""


def build(merge: MergeInputs) -> Node:
    """T_0 + sum_i w_i (T_i - T_(i-1)): every step counted by the rate that it should have had."""
    count = len(merge.models)
    shape = SHAPES[str(merge.parameters["decay"])]
    rates = [1.0, *(shape(step / count) for step in range(1, count)), 0.0]
    weights = tuple(rate - following for rate, following in pairwise(rates))
    return make_node(weighted(weights, normalize=True), *merge.nodes)


METHOD = Method(
    name="wsm",
    summary="Averages checkpoints, oldest first, as if the learning rate had decayed over them.",
    formula="sum_j c_j T_j, c_0 = 1-w_1, c_j = w_j - w_(j+1), c_k = w_k, w_j = decay(j / (k+1))",
    use_when="a training run kept its learning rate to the end; linear decay is the plain mean",
    paper="WSM, arXiv 2507.17634",
    build=build,
    base=BaseRule.NONE,
    group=Group.AVERAGES,
    parameters=(
        ParameterSpec(
            "decay",
            str,
            "1-sqrt",
            per_model=False,
            doc="Shape of the decay that is imitated.",
            choices=tuple(SHAPES),
        ),
    ),
)
