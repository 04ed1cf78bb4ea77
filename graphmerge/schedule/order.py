"""Units in the order of work, and what can be said of all of one kind at once."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import accumulate, chain
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

from graphmerge.schedule.dependence import is_statistic

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

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
            most = max(_window_bytes(self.members, in_flight), default=0)
            self._live_bytes[in_flight] = most + self.shared_bytes
        return self._live_bytes[in_flight]


def window_bytes(units: Sequence[UnitPlan], in_flight: int) -> Iterator[int]:
    """What each unit and the `in_flight` - 1 before it hold, and what is stored meanwhile."""
    return _window_bytes((Member(tuple(units)),), in_flight)


def _window_bytes(members: Sequence[Member], in_flight: int) -> Iterator[int]:
    options = {id(member.option): member.option for member in members}
    live = {key: [unit.live_bytes for unit in option] for key, option in options.items()}
    held = list(chain.from_iterable([live[id(member.option)] for member in members]))
    stored = _stored_bytes(members, options, len(held), in_flight)
    total = list(accumulate(held, initial=0))
    begins = chain([0] * (in_flight - 1), total)
    windows = (end - begin for begin, end in zip(begins, total[1:], strict=False))
    return (window + size for window, size in zip(windows, stored, strict=False))


def _stored_bytes(
    members: Sequence[Member], options: dict[int, Option], count: int, in_flight: int
) -> list[int]:
    """Bytes of the tensors that are stored while each unit and those before it are in flight.

    A tensor is stored from the beginning of the unit that makes it (one before the first, if it is
    none of these) to the end of the last that needs it.
    """
    sharing = {key: _sharing(option) for key, option in options.items()}
    if not any(sharing.values()):
        return [0] * count
    spans = {key: list(_spans(0, found).items()) for key, found in sharing.items()}
    own: dict[Node, tuple[int, int]] = {}
    changes = [0] * (count + in_flight)
    start = 0
    for member in members:
        key = id(member.option)
        if member.output is None:
            for node, (first, last) in _spans(start, sharing[key]).items():
                own[node] = (own[node][0] if node in own else first, last)
        else:  # what is stored for one output of a pattern is stored for no other
            for node, (first, last) in spans[key]:
                changes[start + first] += node.spec.nbytes
                changes[start + last + in_flight] -= node.spec.nbytes
        start += len(member.option)
    for node, (first, last) in own.items():
        changes[first] += node.spec.nbytes
        changes[last + in_flight] -= node.spec.nbytes
    return list(accumulate(changes[:count]))


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
