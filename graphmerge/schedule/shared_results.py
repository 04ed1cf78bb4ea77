"""What a plan does about results that several passes need."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.graph import postorder
from graphmerge.schedule.program import is_read
from graphmerge.schedule.repeats import Uses
from graphmerge.schedule.report_values import SharedResult
from graphmerge.schedule.units import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from graphmerge.graph import Node
    from graphmerge.schedule.plan import Plan


FEW_OPS = 3
"""A difference of two stored tensors takes as many; nobody asks about it."""


def shared_results(plan: Plan) -> tuple[tuple[SharedResult, ...], tuple[SharedResult, ...]]:
    """What is made once and stored for the passes that need it, and what each pass makes again."""
    return tuple(_results(plan, passes_that_read)), tuple(_results(plan, passes_that_compute))


def passes_that_read(units: Sequence[Unit]) -> dict[Node, int]:
    """How many passes of units read each result that one of them stores."""
    stored = [unit.stored for unit in units if unit.stored is not None]
    if not stored:
        return {}
    reads = Counter(load for unit in units for part in unit.passes for load in part.program.loads)
    return {node: reads[node] - is_read(node) for node in stored}


def passes_that_compute(units: Sequence[Unit]) -> dict[Node, int]:
    """How many passes compute each result that several need, if it takes more than a few ops."""
    uses = Uses(units)
    results = (node for node in uses.repeated() if len(uses.region(node)) > FEW_OPS)
    return {node: uses.passes(node) for node in results}


def _results(
    plan: Plan, passes: Callable[[Sequence[Unit]], dict[Node, int]]
) -> Iterator[SharedResult]:
    """What the function finds in the units that share nodes, and in those of patterns."""
    members = plan.order.members
    found = passes([unit.unit for one in members if one.output is None for unit in one.option])
    if found:
        tensors: dict[Node, str] = {}
        seen: set[Node] = set()
        for output in plan.graph.partition.single:
            for node in postorder((output.node,), seen=seen):
                tensors[node] = output.name
        yield from (_result(node, tensors[node], count) for node, count in found.items())
    options = {id(one.option): one.option for one in members if one.output is not None}
    known = {
        key: passes([Unit((), unit.unit.work) for unit in option])
        for key, option in options.items()
    }
    if any(known.values()):
        alike = ((one.output.name, id(one.option)) for one in members if one.output is not None)
        for name, key in alike:
            yield from (_result(node, name, count) for node, count in known[key].items())


def _result(node: Node, tensor: str, passes: int) -> SharedResult:
    return SharedResult(node.op.kind, tensor, passes, node.spec.nbytes)
