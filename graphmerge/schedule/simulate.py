"""Replay a plan symbolically: what is held when, and whether all that is used is there.

The judge of plans: the scheduler predicts a peak by formula, the replay walks through the steps.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from attrs import frozen

from graphmerge.schedule.dependence import is_statistic
from graphmerge.schedule.steps import Free, RunPass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.graph import Node
    from graphmerge.schedule.plan import Plan, UnitPlan
    from graphmerge.schedule.units import Pass, Work


@frozen
class Moment:
    """One pass of one unit."""

    label: str
    """Unit and number of the pass."""
    live_bytes: int
    """Kept inputs, states of reductions and statistics: of this unit, and of those in flight
    beside it; and stored tensors."""
    total_bytes: int
    """Everything, the reserved part and the workers' memory included."""


def simulate(plan: Plan) -> tuple[Moment, ...]:
    """Every pass of a plan in order, with what is held while it runs.

    Units in flight beside the one at hand are taken at their largest, as the order in which workers
    finish is not known. An AssertionError means that the scheduler is wrong, never the user.
    """
    memory = plan.memory
    fixed = memory.reserved_bytes + memory.workspace_bytes + memory.buffer_bytes
    beside: deque[int] = deque(maxlen=plan.workers - 1)
    users = Counter(node for unit in plan.units for node in unit.unit.needs)
    shared: set[Node] = set()
    moments: list[Moment] = []
    replays: dict[tuple[Work, bool], _Replay] = {}
    for unit in plan.units:
        replay = _replay(unit, shared, replays)
        shared.update(node for node in unit.unit.makes if not is_statistic(node))
        around = sum(beside) + (sum(node.spec.nbytes for node in shared) if shared else 0)
        name, count = unit.unit.name, len(replay.held)
        for number, held in enumerate(replay.held, start=1):
            label = f"{name}, pass {number} of {count}"
            moments.append(Moment(label, held + around, fixed + held + around))
        beside.append(replay.largest)
        shared.update(unit.unit.makes)
        if unit.unit.work.needs:
            users.subtract(unit.unit.needs)
            shared.difference_update([node for node in unit.unit.needs if not users[node]])
    assert not shared, "a shared value has no user"
    return tuple(moments)


def _replay(plan: UnitPlan, shared: set[Node], known: dict[tuple[Work, bool], _Replay]) -> _Replay:
    """What a unit holds; the same for all with one work that need nothing of others."""
    work = plan.unit.work
    if work.needs or work.makes:
        return _Replay(plan.bound(), shared)
    kind = (work, plan.keeps)
    if kind not in known:
        known[kind] = _Replay(plan.bound(), shared)
    return known[kind]


class _Replay:
    """One unit, step by step."""

    def __init__(self, plan: UnitPlan, shared: set[Node]) -> None:
        assert all(node in shared for node in plan.unit.needs), "a shared value is made too late"
        self._plan = plan
        self._kept = set(plan.kept)
        self._held: dict[Node, int] = dict.fromkeys(plan.unit.needs, 0)
        self._folded: set[Node] = set()
        self.held = self._walk()
        """Bytes held in every pass."""
        self.largest = max(self.held, default=0)
        """The most of them."""

    def _walk(self) -> list[int]:
        found: list[int] = []
        for step in self._plan.steps:
            if isinstance(step, RunPass):
                found.append(self._run(self._plan.unit.passes[step.index]))
            else:
                self._free(step)
        kept = [node for node in self._held if node in self._plan.in_memory]
        assert not kept, "a kept input or a shared value is never freed"
        return found

    def _run(self, part: Pass) -> int:
        for node in part.prologue:
            self._require(value for value in node.inputs if value not in self._folded)
            self._held[node] = node.spec.nbytes
        for load in part.program.loads:
            if load in self._kept:
                self._held[load] = load.spec.nbytes
            elif load in self._plan.unit.needs:
                self._require((load,))
        for instruction in part.program.instructions:
            self._require(instruction.statistics)
        states = sum(
            node.op.state_bytes(tuple(value.spec for value in node.inputs))
            for node in part.reductions
        )
        states += sum(node.spec.nbytes for node in part.folded)
        held = sum(self._held.values()) + states + self._fold_bytes()
        self._folded.update(part.folded)
        for node in part.reductions:
            if node not in part.folded:
                self._held[node] = node.spec.nbytes
        return held

    def _fold_bytes(self) -> int:
        """Bytes of the unit's statistic over many tensors while it is made."""
        return sum(
            node.op.state_bytes(tuple(value.spec for value in node.inputs))
            for node in self._plan.unit.makes
            if node.op.fold_width
        )

    def _require(self, values: Iterable[Node]) -> None:
        for node in values:
            assert node in self._held, f"{node} is used before it is made or after it is freed"

    def _free(self, step: Free) -> None:
        for node in step.values:
            assert node in self._held, f"{node} is freed twice"
            del self._held[node]
