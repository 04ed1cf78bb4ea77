"""What a plan does about results that several passes need."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.graph import postorder
from graphmerge.schedule.program import is_read
from graphmerge.schedule.repeats import Uses
from graphmerge.schedule.report_values import SharedResult

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.schedule.plan import Plan


FEW_OPS = 3
"""A difference of two stored tensors takes as many; nobody asks about it."""


def stored_results(plan: Plan) -> tuple[SharedResult, ...]:
    """What is computed (or read, for an input) once, and stored for the passes that need it."""
    stored = [unit.unit.stored for unit in plan.units if unit.unit.stored is not None]
    reads = Counter(
        load for unit in plan.units for part in unit.unit.passes for load in part.program.loads
    )
    return _results(plan, {node: reads[node] - is_read(node) for node in stored})


def results_computed_again(plan: Plan) -> tuple[SharedResult, ...]:
    """What several passes compute, each for itself."""
    return _results(plan, passes_that_compute(plan))


def passes_that_compute(plan: Plan) -> dict[Node, int]:
    """How many passes compute each result that several need, if it takes more than a few ops."""
    uses = Uses([unit.unit for unit in plan.units])
    results = (node for node in uses.repeated() if len(uses.region(node)) > FEW_OPS)
    return {node: uses.passes(node) for node in results}


def _results(plan: Plan, passes: dict[Node, int]) -> tuple[SharedResult, ...]:
    if not passes:
        return ()
    tensors: dict[Node, str] = {}
    seen: set[Node] = set()
    for output in plan.graph.outputs:
        for node in postorder((output.node,), seen=seen):
            tensors[node] = output.name
    return tuple(
        SharedResult(node.op.kind, tensors[node], count, node.spec.nbytes)
        for node, count in passes.items()
    )
