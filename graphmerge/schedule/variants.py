"""The ways to cut a graph into units: every shared result computed again, or stored."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Value
from graphmerge.schedule.dependence import shared_statistics
from graphmerge.schedule.repeats import grouped
from graphmerge.schedule.templates import canonical_form
from graphmerge.schedule.unit_builder import UnitBuilder, output_roots
from graphmerge.schedule.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

    from graphmerge.graph import Graph, Node, Output
    from graphmerge.schedule.facts import UnitFacts

_MOST_SINGLE = 3
"""With more results than this, storing just one of them is not tried."""


@frozen(eq=False)
class Group:
    """Units that are planned together, as they compute the same results."""

    variants: tuple[tuple[Unit, ...], ...]
    """Units in order; the first variant stores nothing."""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs that the units make."""
        return tuple(output for unit in self.variants[0] for output in unit.outputs)


@frozen(eq=False)
class Grouping:
    """The groups of units that make a graph's outputs."""

    groups: tuple[Group, ...]
    """Each once."""
    members: tuple[tuple[int, Output | None], ...]
    """In the order of the outputs: which group, and for which output of a pattern; None where the
    units are those of the group itself."""


def make_groups(graph: Graph, *, device: str, native: bool) -> Grouping:
    """Every group of units; outputs of one pattern that share nothing are planned once.

    Args:
        graph: What is computed.
        device: Where kernels run.
        native: Whether programs are to be compiled where they can be.
    """
    builder = UnitBuilder(device, native=native)
    place = {output.name: index for index, output in enumerate(graph.outputs)}
    shared = _statistics(graph)
    alike: list[tuple[int, tuple[int, Output | None]]] = []
    statistics = list(_statistic_groups(graph, builder, shared, place))
    groups = [group for _, group in statistics]
    found: list[tuple[int, tuple[int, Output | None]]] = [
        (at, (number, None)) for number, (at, _) in enumerate(statistics)
    ]
    for pattern, outputs in graph.partition.alike.items():
        # The first output need not be the one that the pattern was worked out for.
        value = Value(pattern, pattern.leaves, pattern.tensors)
        named = evolve(outputs[0], value=value)
        alike += [(place[output.name], (len(groups), output)) for output in outputs]
        (group,) = _groups(builder, (named,), shared)
        groups.append(group)
    at = 0
    repeated = bool(graph.partition.repeated)
    for group in _groups(builder, graph.partition.single, shared, repeated=repeated):
        at = max(at, *(place[output.name] for output in group.outputs[:1]), 0)
        found.append((at, (len(groups), None)))
        groups.append(group)
    ordered = sorted((*found, *alike), key=itemgetter(0))
    return Grouping(tuple(groups), tuple(member for _, member in ordered))


def _statistic_groups(
    graph: Graph, builder: UnitBuilder, shared: Set[Node], place: Mapping[str, int]
) -> Iterator[tuple[int, Group]]:
    """A group for each shared statistic, with the place of the first output that needs it."""
    if not shared:
        return
    users = [(place[own[0].name], pattern.root) for pattern, own in graph.partition.alike.items()]
    users += [(place[output.name], output.node) for output in graph.partition.single]
    made: set[Node] = set()
    for at, root in sorted(users, key=itemgetter(0)):
        for unit in builder.shared_units(root, shared, made):
            yield at, Group(((unit,),))


def _statistics(graph: Graph) -> Set[Node]:
    """Statistics over tensors by kinds, and what is made of these alone and several outputs need.

    Two outputs of a pattern stand for all in finding out whether several need it.
    """
    if not graph.surveyed:
        return frozenset()
    few = (outputs[:2] for outputs in graph.partition.alike.values())
    outputs = (*chain.from_iterable(few), *graph.partition.single)
    return shared_statistics([output.node for output in outputs])


def _groups(
    builder: UnitBuilder,
    outputs: tuple[Output, ...],
    given: Set[Node] = frozenset(),
    *,
    repeated: bool = False,
) -> Iterator[Group]:
    """The groups of units of these outputs, in their order, if some statistics are given.

    Some tensor may be loaded for several of them only if it is `repeated`.
    """
    roots = output_roots(outputs)
    statistics = shared_statistics(roots, given) | given
    units = builder.units(roots, statistics, set(given))
    maker = _VariantMaker(builder, units, statistics, given, repeated=repeated)
    for together, results in grouped(units):
        yield from maker.groups(together, results)


class _VariantMaker:
    """Makes the variants of group after group, in order."""

    def __init__(
        self,
        builder: UnitBuilder,
        units: Iterable[Unit],
        statistics: Set[Node],
        given: Set[Node],
        *,
        repeated: bool,
    ) -> None:
        self._builder = builder
        self._statistics = statistics
        self._users = Counter(node for unit in units for node in unit.needs)
        reads = (unit.reads() for unit in units) if repeated else ()
        self._readers = Counter(chain.from_iterable(reads))
        self._made: set[Node] = set(given)
        self._known: dict[tuple[UnitFacts, frozenset[int]], tuple[list[Node], Group]] = {}

    def groups(self, units: tuple[Unit, ...], results: tuple[Node, ...]) -> Iterator[Group]:
        """The group of these units; none if groups before have made all that these make."""
        if len(units) == 1 and results and not (units[0].needs or units[0].makes):
            yield self._alone(units[0], results)
            return
        roots = {unit.root: unit.outputs for unit in units if unit.root not in self._made}
        if not roots:
            return
        first = units
        if results:
            first = tuple(self._builder.units(roots, self._statistics, set(self._made)))
        yield Group((first, *self._storing(first, results)))
        self._made.update(node for unit in first for node in unit.makes)

    def _alone(self, unit: Unit, results: tuple[Node, ...]) -> Group:
        """The group of a unit that shares nothing: worked out once for all of its structure."""
        _, nodes = canonical_form((unit.root,), frozenset())
        places = enumerate(nodes) if self._readers else ()
        elsewhere = frozenset(place for place, node in places if self._readers[node] > 1)
        key = unit.facts, elsewhere
        if key not in self._known:
            group = Group(((unit,), *self._storing((unit,), results)))
            self._known[key] = nodes, group
            return group
        others, group = self._known[key]
        bound = dict(zip(others, nodes, strict=True))
        stored = (
            tuple(Unit(unit.outputs if one.outputs else (), one.work.bind(bound)) for one in units)
            for units in group.variants[1:]
        )
        return Group(((unit,), *stored))

    def _storing(
        self, units: tuple[Unit, ...], results: tuple[Node, ...]
    ) -> Iterator[tuple[Unit, ...]]:
        """All results stored, and inputs that several units read then; or one of the results.

        Not inputs that other groups read as well: each tensor is stored by one unit at most.
        """
        if not results:
            return
        yield (storing := self._variant(units, results))
        readers = Counter(load for unit in storing for load in unit.reads())
        in_rows = {load for gathered in readers for load in gathered.inputs}
        own = Counter(chain.from_iterable(unit.reads() for unit in units))
        inputs = tuple(
            load
            for load, count in readers.items()
            if count > 1 and load not in in_rows and self._readers[load] <= own[load]
        )
        if inputs:
            yield self._variant(units, (*results, *inputs))
        if 1 < len(results) <= _MOST_SINGLE:
            for result in results:
                yield self._variant(units, (result,))

    def _variant(self, units: tuple[Unit, ...], stored: Sequence[Node]) -> tuple[Unit, ...]:
        """The same work with these tensors stored.

        Statistics that none but these units need may be needed by one of them only now, and are
        made there.
        """
        users = Counter(node for unit in units for node in unit.needs)
        own = {n for unit in units for n in unit.makes if users[n] == self._users[n]}
        roots = {unit.root: unit.outputs for unit in units if unit.root not in own}
        known = {*(self._statistics - own), *stored}
        shared = known | shared_statistics(dict.fromkeys((*roots, *stored)), known)
        return tuple(self._builder.units(roots, shared, set(self._made)))
