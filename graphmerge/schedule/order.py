"""Units in the order of work, and what can be said of all of one kind at once."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

from graphmerge.schedule.dependence import is_statistic

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from graphmerge.graph import Node
    from graphmerge.schedule.plan import UnitPlan
    from graphmerge.schedule.units import Work

Kinds: TypeAlias = "Sequence[tuple[UnitPlan, int]]"
"""The first unit of every kind, and how many of the kind there are."""


def kinds_of(units: Iterable[UnitPlan]) -> Kinds:
    """The kinds of units: those of one take the same memory and the same time."""
    first: dict[Hashable, UnitPlan] = {}
    counts: Counter[Hashable] = Counter()
    for unit in units:
        counts[kind := unit.kind] += 1
        if kind not in first:
            first[kind] = unit
    return tuple((unit, counts[kind]) for kind, unit in first.items())


@frozen(eq=False, slots=False)
class Order:
    """Units in the order of work, with what of them every estimate needs."""

    units: tuple[UnitPlan, ...]
    """Units in order."""

    @cached_property
    def kinds(self) -> Kinds:
        """The first unit of every kind, and how many there are."""
        return kinds_of(self.units)

    @cached_property
    def works(self) -> tuple[Work, ...]:
        """What the units do, each work once."""
        return tuple({id(unit.unit.work): unit.unit.work for unit in self.units}.values())

    @cached_property
    def shared_bytes(self) -> int:
        """Bytes of all statistics that units share."""
        return sum(
            node.spec.nbytes
            for unit in self.units
            for node in unit.unit.work.makes
            if is_statistic(node)
        )

    @cached_property
    def _live_bytes(self) -> dict[int, int]:
        return {}

    def live_bytes(self, in_flight: int) -> int:
        """The most that is held at once: by units in flight, stored for others, and shared."""
        if in_flight not in self._live_bytes:
            most = max(window_bytes(self.units, in_flight), default=0)
            self._live_bytes[in_flight] = most + self.shared_bytes
        return self._live_bytes[in_flight]


def window_bytes(units: Sequence[UnitPlan], in_flight: int) -> Iterator[int]:
    """What each unit and the `in_flight` - 1 before it hold, and what is stored meanwhile."""
    held = [unit.live_bytes for unit in units]
    stored = _stored_bytes(units, in_flight)
    window = 0
    for index, own in enumerate(held):
        window += own - (held[index - in_flight] if index >= in_flight else 0)
        yield window + stored[index]


def _stored_bytes(units: Sequence[UnitPlan], in_flight: int) -> list[int]:
    """Bytes of the tensors that are stored while each unit and those before it are in flight.

    A tensor is stored from the beginning of the unit that makes it (one before the first, if it is
    none of these) to the end of the last that needs it.
    """
    first: dict[Node, int] = {}
    last: dict[Node, int] = {}
    sharing = [
        (index, plan.unit)
        for index, plan in enumerate(units)
        if plan.unit.work.makes or plan.unit.work.needs
    ]
    for index, unit in sharing:
        makes = unit.makes
        for node in (*makes, *unit.needs):
            if not is_statistic(node):
                first.setdefault(node, index if node in makes else 0)
                last[node] = index
    changes = [0] * (len(units) + 1)
    for node, index in first.items():
        changes[index] += node.spec.nbytes
        changes[min(last[node] + in_flight, len(units))] -= node.spec.nbytes
    return list(accumulate(changes))
