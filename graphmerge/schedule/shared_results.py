"""What a plan does about results that several passes need."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.graph import postorder
from graphmerge.schedule.program import is_read
from graphmerge.schedule.repeats import Uses
from graphmerge.schedule.report_values import SharedResult, SharedResults
from graphmerge.schedule.units import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from graphmerge.graph import Alike, Node, Pattern, Surveyed
    from graphmerge.schedule.order import Option
    from graphmerge.schedule.plan import Plan


FEW_OPS = 3
"""A difference of two stored tensors takes as many; nobody asks about it."""


def shared_results(plan: Plan) -> tuple[SharedResults, SharedResults]:
    """What is made once and stored for the passes that need it, and what each pass makes again."""
    return _results(plan, passes_that_read), _results(plan, passes_that_compute)


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


def _results(plan: Plan, passes: Callable[[Sequence[Unit]], dict[Node, int]]) -> SharedResults:
    """What the function finds in the units that share nodes, and in those of patterns."""
    members = plan.order.members
    single = [unit.unit for one in members if one.output is None for unit in one.option]
    options = {
        id(one.option): (one.option, one.output.value.pattern)
        for one in members
        if one.output is not None
    }
    surveys = [one for unit in single for one in _surveys(unit)]
    found = {
        key: passes(_of_one_tensor(option, pattern, plan.graph.surveyed, surveys))
        for key, (option, pattern) in options.items()
    }
    return SharedResults(
        tuple(_single(plan, passes([unit for unit in single if not unit.work.rounds]))),
        members,
        {
            key: [(node.op.kind, count, node.spec.nbytes) for node, count in own.items()]
            for key, own in found.items()
        },
    )


def _single(plan: Plan, found: Mapping[Node, int]) -> Iterator[SharedResult]:
    """Results of units that share nodes, with how many passes need each."""
    if not found:
        return
    tensors: dict[Node, str] = {}
    seen: set[Node] = set()
    for output in plan.graph.partition.single:
        for node in postorder((output.node,), seen=seen):
            tensors[node] = output.name
    for node, count in found.items():
        yield SharedResult(node.op.kind, tensors[node], count, node.spec.nbytes)


def _surveys(unit: Unit) -> Iterator[tuple[Alike, Unit]]:
    """What a statistic over tensors does for the first tensor of each kind."""
    for one in unit.work.rounds:
        yield one.alike, Unit((), evolve(unit.work, passes=one.passes, rounds=()))


def _of_one_tensor(
    option: Option,
    pattern: Pattern,
    kinds: Iterable[Surveyed],
    surveys: Iterable[tuple[Alike, Unit]],
) -> list[Unit]:
    """All that is done for one of the tensors of a pattern, for statistics over tensors first."""
    for kind in kinds:
        if kind.output is not None and kind.output.value.pattern is pattern:
            value = kind.output.value
            own = [Unit((), unit.unit.work, value) for unit in option]
            return [*(unit for alike, unit in surveys if alike is kind.alike), *own]
    return [Unit((), unit.unit.work) for unit in option]
