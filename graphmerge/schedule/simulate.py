"""Replay a plan symbolically: what is held when, and whether all that is used is there.

The judge of plans: the scheduler predicts a peak by formula, the replay walks through the steps.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from graphmerge.frozen_classes import frozen
from graphmerge.graph import by_place, is_statistic
from graphmerge.schedule.made_late import MadeLate
from graphmerge.schedule.order import sums_before
from graphmerge.schedule.steps import Free, RunPass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.graph import Node
    from graphmerge.schedule.order import Member, Option
    from graphmerge.schedule.passes import Pass
    from graphmerge.schedule.plan import Plan, UnitPlan
    from graphmerge.schedule.units import Work


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


@frozen(slots=False)
class Timeline(MadeLate[Moment]):
    """Every pass of a plan in order."""

    members: tuple[Member, ...]
    """Groups of units in order."""
    passes: tuple[int, ...]
    """How many passes every unit has."""
    live_bytes: tuple[int, ...]
    """What is held of tensors in every pass."""
    fixed_bytes: int
    """What is held besides, all the time."""

    @property
    def total_bytes(self) -> list[int]:
        """Everything that is held in every pass."""
        return [self.fixed_bytes + held for held in self.live_bytes]

    @cached_property
    def _all(self) -> tuple[Moment, ...]:
        names = chain.from_iterable(member.names for member in self.members)
        labels = (
            f"{name}, pass {number} of {count}"
            for name, count in zip(names, self.passes, strict=True)
            for number in range(1, count + 1)
        )
        return tuple(map(Moment, labels, self.live_bytes, self.total_bytes))

    def __len__(self) -> int:
        return len(self.live_bytes)


def simulate(plan: Plan) -> Timeline:
    """Every pass of a plan in order, with what is held while it runs.

    Units in flight beside the one at hand are taken at their largest, as the order in which workers
    finish is not known. An AssertionError means that the scheduler is wrong, never the user.
    """
    memory = plan.memory
    replaying = _Replaying(plan)
    for member in plan.order.members:
        replaying.go_through(member)
    assert not replaying.shared.nodes, "a shared value has no user"
    return Timeline(
        plan.order.members,
        tuple(replaying.passes),
        replaying.live_bytes(plan.workers),
        memory.reserved_bytes + memory.workspace_bytes + memory.buffer_bytes,
    )


class _Replaying:
    """The units of a plan, one after the other."""

    def __init__(self, plan: Plan) -> None:
        self.passes: list[int] = []
        """How many passes each unit has."""
        self.shared = _Shared()
        members = plan.order.members
        self._users = _users(chain.from_iterable([m.option for m in members if m.output is None]))
        options = {id(one.option): one.option for one in members if one.output is not None}
        self._given = {key: _given(option) for key, option in options.items()}
        times = Counter([id(one.option) for one in members if one.output is not None])
        for key, nodes in self._given.items():
            self._users.update(dict.fromkeys(nodes, times[key]))
        self._known: dict[int, _Turns] = {}
        self._held: list[int] = []
        self._largest: list[int] = []
        self._stored: list[int] = []

    def go_through(self, member: Member) -> None:
        """Replay the units of a member; those of a pattern, which share nothing, once for all."""
        option = member.option
        if member.output is None:
            self._note(_turns(option, self.shared, self._users), 0)
            return
        given = self._given[id(option)]
        assert self.shared.nodes.issuperset(given), "a shared value is made too late"
        self._note(self._of_pattern(option, given), self.shared.stored_bytes)
        self.shared.use(given, self._users)

    def _of_pattern(self, option: Option, given: frozenset[Node]) -> _Turns:
        """The units of one output of a pattern."""
        turns = self._known.get(id(option))
        if turns is None:
            shared = _Shared(given)
            turns = self._known[id(option)] = _turns(option, shared, _users(option))
            assert not shared.nodes, "a shared value has no user"
        return turns

    def _note(self, turns: _Turns, beside_bytes: int) -> None:
        """Note units, and what is stored while they run beside what they say."""
        self.passes += turns.passes
        self._held += turns.held
        self._largest += turns.largest
        self._stored += [beside_bytes + stored for stored in turns.stored]

    def live_bytes(self, workers: int) -> tuple[int, ...]:
        """What is held of tensors in every pass, with so many units in flight."""
        largest = np.array(self._largest, np.int64)
        around = sums_before(largest, workers) - largest + np.array(self._stored, np.int64)
        held = np.array(self._held, np.int64) + np.repeat(around, self.passes)
        return tuple(held.tolist())


@frozen
class _Turns:
    """Units, when their turns come."""

    passes: list[int]
    """How many passes each of them has."""
    held: list[int]
    """Bytes that the unit at hand holds in every pass of all."""
    largest: list[int]
    """The most that each of them holds."""
    stored: list[int]
    """Bytes of what units have made for others, while each of them runs."""


def _users(units: Iterable[UnitPlan]) -> Counter[Node]:
    """How many units need what others make."""
    return Counter(node for unit in units for node in unit.unit.needs)


def _given(option: Option) -> frozenset[Node]:
    """What units of a pattern need and none of them makes."""
    made = {node for unit in option for node in unit.unit.work.makes}
    return frozenset(node for unit in option for node in unit.unit.work.needs) - made


class _Shared:
    """What units have made for others that are still to come."""

    def __init__(self, given: frozenset[Node] = frozenset()) -> None:
        """Begin with what is given, which has been counted already."""
        self.nodes: set[Node] = set(given)
        self.stored_bytes = 0
        """Bytes of all, but for what is given."""
        self._given = given

    def add(self, made: Iterable[Node]) -> None:
        """Take what a unit has made."""
        for node in made:
            if node not in self.nodes:
                self.nodes.add(node)
                self.stored_bytes += node.spec.nbytes

    def use(self, needed: Iterable[Node], users: Counter[Node]) -> None:
        """Note that a unit has used values, and let go of what none needs any longer."""
        for node in needed:
            users[node] -= 1
            if not users[node]:
                self.nodes.remove(node)
                self.stored_bytes -= 0 if node in self._given else node.spec.nbytes


def _turns(option: Option, shared: _Shared, users: Counter[Node]) -> _Turns:
    """Replay units: what they make becomes shared, until none needs it any longer."""
    turns = _Turns([], [], [], [])
    for plan in option:
        unit = plan.unit
        replay = _Replay(plan.of_first(), shared.nodes)
        shared.add(node for node in unit.makes if not is_statistic(node))
        held = _of_all(unit.work, replay.held)
        turns.passes.append(len(held))
        turns.held.extend(held)
        turns.largest.append(replay.largest)
        turns.stored.append(shared.stored_bytes)
        shared.add(unit.makes)
        shared.use(unit.needs, users)
    return turns


def _of_all(work: Work, held: list[int]) -> list[int]:
    """Bytes in every pass, by those in passes over the first tensor of every kind."""
    turns: list[tuple[int, list[int]]] = []
    start = 0
    for one in work.rounds:
        own = held[start : start + len(one.passes)]
        turns += [(member.place, own) for member in one.alike.members]
        start += len(one.passes)
    return [*by_place(turns), *held[start:]]


class _Replay:
    """One unit, step by step."""

    def __init__(self, plan: UnitPlan, shared: set[Node]) -> None:
        assert all(node in shared for node in plan.unit.needs), "a shared value is made too late"
        self._plan = plan
        self._kept = set(plan.kept)
        self._held: dict[Node, int] = dict.fromkeys(plan.unit.needs, 0)
        self._held_bytes = _fold_bytes(plan)
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
            self._hold(node)
        for load in part.program.loads:
            if load in self._kept:
                self._hold(load)
            elif load in self._plan.unit.needs:
                self._require((load,))
        for instruction in part.program.instructions:
            self._require(instruction.statistics)
        states = sum(
            node.op.state_bytes(tuple(value.spec for value in node.inputs))
            for node in part.reductions
        )
        states += sum(node.spec.nbytes for node in part.folded)
        held = self._held_bytes + states
        self._folded.update(part.folded)
        for node in part.reductions:
            if node not in part.folded:
                self._hold(node)
        return held

    def _hold(self, node: Node) -> None:
        self._held_bytes += node.spec.nbytes - self._held.get(node, 0)
        self._held[node] = node.spec.nbytes

    def _require(self, values: Iterable[Node]) -> None:
        for node in values:
            assert node in self._held, f"{node} is used before it is made or after it is freed"

    def _free(self, step: Free) -> None:
        for node in step.values:
            assert node in self._held, f"{node} is freed twice"
            self._held_bytes -= self._held.pop(node)


def _fold_bytes(plan: UnitPlan) -> int:
    """Bytes of the unit's statistic over many tensors while it is made."""
    return sum(
        node.op.state_bytes(tuple(value.spec for value in node.inputs))
        for node in plan.unit.makes
        if node.op.fold_width
    )
