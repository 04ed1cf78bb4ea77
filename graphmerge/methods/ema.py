"""Exponential moving average of the checkpoints of one training run."""

from __future__ import annotations

from graphmerge.graph import Node, make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import own
from graphmerge.methods.ranges import fraction
from graphmerge.ops.arithmetic import WeightedSum


def build(merge: MergeInputs) -> Node:
    """Average <- decay * average + (1 - decay) * next, from the first to the last."""
    decay, steps = fraction(merge, "decay"), len(merge.models) - 1
    later = ((1 - decay) * decay ** (steps - step) for step in range(1, steps + 1))
    weights = (decay**steps, *later)
    return make_node(WeightedSum(weights, sum(weights)), *merge.nodes)


METHOD = Method(
    name="ema",
    summary="Exponential moving average over checkpoints, listed from oldest to newest.",
    formula="mu^n T_0 + sum_t (1-mu) mu^(n-t) T_t, mu the decay, t = 1..n",
    use_when="smoothing the last checkpoints of one training run; linear with equal weights is SWA",
    paper="Averaging weights leads to wider optima, arXiv 1803.05407; LAWA, arXiv 2306.03241",
    build=build,
    base=BaseRule.NONE,
    group=Group.AVERAGES,
    parameters=(own("decay", 0.9, "What is kept of the average at each step."),),
)
