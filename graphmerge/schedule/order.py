"""Units in the order of work, and what can be said of all of one kind at once."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from graphmerge.frozen_classes import frozen
from graphmerge.graph import is_statistic

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from graphmerge.graph import Node, Output
    from graphmerge.schedule.plan import UnitPlan
    from graphmerge.schedule.units import Work

Kinds: TypeAlias = "Sequence[tuple[UnitPlan, int]]"
"""The first unit of every kind, and how many of the kind there are."""
Option: TypeAlias = "tuple[UnitPlan, ...]"
"""One way to do the work of a group of units."""


@frozen(eq=False)
class Member:
    """A group of units in its place in the order; many outputs have the group of their pattern."""

    option: Option
    """Its units, or those of another output of the same pattern, in order."""
    output: Output | None = None
    """The output that they are to make; None where the units are its own."""

    @property
    def units(self) -> Option:
        """Its own units."""
        output = self.output
        if output is None:
            return self.option
        return tuple([unit.for_output(output) for unit in self.option])

    @property
    def names(self) -> list[str]:
        """What messages call its units."""
        output = self.output
        if output is None:
            return [unit.unit.name for unit in self.option]
        return [output.name if unit.unit.outputs else unit.unit.name for unit in self.option]


def kinds_of(units: Iterable[tuple[UnitPlan, int]]) -> Kinds:
    """The kinds of units, each given with how often it is there.

    Those of one kind take the same memory and the same time.
    """
    first: dict[Hashable, UnitPlan] = {}
    counts: Counter[Hashable] = Counter()
    for unit, count in units:
        counts[kind := unit.kind] += count
        if kind not in first:
            first[kind] = unit
    return tuple((unit, counts[kind]) for kind, unit in first.items())


@frozen(eq=False, slots=False)
class Order:
    """Units in the order of work, with what of them every estimate needs."""

    members: tuple[Member, ...]
    """Groups of units in order."""

    @cached_property
    def units(self) -> tuple[UnitPlan, ...]:
        """Units in order."""
        return tuple(chain.from_iterable([member.units for member in self.members]))

    @cached_property
    def _options(self) -> dict[int, tuple[Member, int]]:
        """The first member that has each option, and how many have it."""
        counts = Counter([id(member.option) for member in self.members])
        first = {id(member.option): member for member in reversed(self.members)}
        return {key: (first[key], count) for key, count in counts.items()}

    @cached_property
    def kinds(self) -> Kinds:
        """The first unit of every kind, and how many there are."""
        options = self._options.values()
        return kinds_of((unit, count) for member, count in options for unit in member.units)

    @cached_property
    def works(self) -> tuple[Work, ...]:
        """What the units do, each work once."""
        units = (unit.unit for member, _ in self._options.values() for unit in member.option)
        return tuple(dict.fromkeys(unit.work for unit in units))

    @cached_property
    def shared_bytes(self) -> int:
        """Bytes of all statistics that units share."""
        return sum(
            count * node.spec.nbytes
            for member, count in self._options.values()
            for unit in member.option
            for node in unit.unit.work.makes
            if is_statistic(node)
        )

    @cached_property
    def _live_bytes(self) -> dict[int, int]:
        return {}

    def live_bytes(self, in_flight: int) -> int:
        """The most that is held at once: by units in flight, stored for others, and shared."""
        if in_flight not in self._live_bytes:
            most = _most_in_window(self.members, in_flight)
            self._live_bytes[in_flight] = most + self.shared_bytes
        return self._live_bytes[in_flight]


def most_in_window(units: Sequence[UnitPlan], in_flight: int) -> int:
    """The most that a unit and the `in_flight` - 1 before it hold, with what is stored then."""
    return _most_in_window((Member(tuple(units)),), in_flight)


def _most_in_window(members: Sequence[Member], in_flight: int) -> int:
    options = {id(member.option): member.option for member in members}
    live = {key: [unit.live_bytes for unit in option] for key, option in options.items()}
    found = chain.from_iterable([live[id(member.option)] for member in members])
    windows = sums_before(np.fromiter(found, np.int64), in_flight)
    windows += _stored_bytes(members, options, len(windows), in_flight)
    return int(windows.max(initial=0))


def sums_before(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The sum of each value and as many before it as make up a count, or as there are."""
    total = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=total[1:])
    sums = total[1:].copy()
    sums[count:] -= total[1:-count]
    return sums


def _stored_bytes(
    members: Sequence[Member], options: dict[int, Option], count: int, in_flight: int
) -> NDArray[np.int64]:
    """Bytes of the tensors that are stored while each unit and those before it are in flight.

    A tensor is stored from the beginning of the unit that makes it (one before the first, if it is
    none of these) to the end of the last that needs it.
    """
    changes = np.zeros(count + in_flight, np.int64)
    sharing = {key: found for key, option in options.items() if (found := _sharing(option))}
    own: dict[Node, tuple[int, int]] = {}
    alike: dict[int, list[int]] = {key: [] for key in sharing}
    start = 0
    for member in members if sharing else ():
        key = id(member.option)
        if member.output is None:
            for node, (first, last) in _spans(start, sharing.get(key, ())).items():
                own[node] = (own[node][0] if node in own else first, last)
        elif key in sharing:  # what is stored for one output of a pattern is stored for no other
            alike[key].append(start)
        start += len(member.option)
    for key, starts in alike.items():
        at = np.array(starts, np.int64)
        for node, (first, last) in _spans(0, sharing[key]).items():
            changes[at + first] += node.spec.nbytes
            changes[at + last + in_flight] -= node.spec.nbytes
    for node, (first, last) in own.items():
        changes[first] += node.spec.nbytes
        changes[last + in_flight] -= node.spec.nbytes
    return np.cumsum(changes[:count])


def _spans(start: int, sharing: Iterable[tuple[int, Node, bool]]) -> dict[Node, tuple[int, int]]:
    """From which and to which unit tensors are stored, if the first unit has the number `start`."""
    found: dict[Node, tuple[int, int]] = {}
    for place, node, is_made in sharing:
        first = found[node][0] if node in found else (start + place if is_made else 0)
        found[node] = (first, start + place)
    return found


def _sharing(option: Option) -> list[tuple[int, Node, bool]]:
    """Stored tensors that units make or need: which unit, which tensor, and whether it makes it."""
    return [
        (place, node, node in makes)
        for place, unit in enumerate(option)
        if unit.unit.work.makes or unit.unit.work.needs
        for makes in (unit.unit.makes,)
        for node in (*makes, *unit.unit.needs)
        if not is_statistic(node)
    ]
