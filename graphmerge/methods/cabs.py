"""CABS (arXiv 2503.01874): n:m pruning, each model within what those before have left.

Entries of different models never overlap: where n models' shares do not fit into a group, the last
ones keep what is left, or nothing. The paper lets half of the entries overlap where n is m/2 or
more; here they do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import SCALE, WEIGHT, integer
from graphmerge.methods.task_vectors import add_to_base, task_vectors, weights_of
from graphmerge.ops.arithmetic import WeightedSum
from graphmerge.ops.blockwise import GROUP_SIZES, KeepInGroups
from graphmerge.ops.variance import Where

if TYPE_CHECKING:
    from graphmerge.graph import Node


def build(merge: MergeInputs) -> Node:
    """Prune the task vectors one after the other, so that none overlap, and add them up."""
    op = _pruning(merge)
    kept: list[Node] = []
    for delta in task_vectors(merge):
        free = make_node(Where(others_are_zero=True), delta, *kept) if kept else delta
        kept.append(make_node(op, free))
    return add_to_base(merge, make_node(WeightedSum(weights_of(merge)), *kept))


def _pruning(merge: MergeInputs) -> KeepInGroups:
    """The op for n and m. Raises RecipeError where they do not fit."""
    n, m = (cast("int", merge.parameters[name]) for name in "nm")
    if m not in GROUP_SIZES:
        wanted = "one of " + ", ".join(map(str, GROUP_SIZES))
        raise RecipeError(Problem("m out of range", f"tensor {merge.tensor}", str(m), wanted))
    if not 1 <= n <= m:
        wanted = f"1 to {m}"
        raise RecipeError(Problem("n out of range", f"tensor {merge.tensor}", str(n), wanted))
    return KeepInGroups(n, m)


METHOD = Method(
    name="cabs",
    summary="Keeps n of every m task-vector entries, each model where those before keep none.",
    formula="B + lambda sum_i w_i p_i, p_i the n largest of every m of d_i where earlier p are 0",
    use_when="task vectors overlap; the order of models matters: the most important first",
    paper="CABS, arXiv 2503.01874",
    build=build,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        WEIGHT,
        integer("n", 64, "How many of every m entries to keep; later models as many as are left."),
        integer("m", 256, "Entries of a group, in flat order: 16, 32, ... 1024."),
        SCALE,
    ),
    least_models=2,
)
