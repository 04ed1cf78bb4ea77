"""The ways to cut a graph into units: every shared result computed again, or stored."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import frozen

from graphmerge.schedule.dependence import shared_statistics
from graphmerge.schedule.repeats import grouped
from graphmerge.schedule.units import UnitBuilder, output_roots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence, Set

    from graphmerge.graph import Graph, Node
    from graphmerge.schedule.units import Unit

_MOST_SINGLE = 3
"""With more results than this, storing just one of them is not tried."""


@frozen(eq=False)
class Group:
    """Units that are planned together, as they compute the same results."""

    variants: tuple[tuple[Unit, ...], ...]
    """Units in order; the first variant stores nothing."""


def make_groups(graph: Graph, *, device: str, native: bool) -> tuple[Group, ...]:
    """Every group of units, in the order of the outputs.

    Args:
        graph: What is computed.
        device: Where kernels run.
        native: Whether programs are to be compiled where they can be.
    """
    roots = output_roots(graph)
    builder = UnitBuilder(device, native=native)
    statistics = shared_statistics(roots)
    units = builder.units(roots, statistics, set())
    maker = _VariantMaker(builder, units, statistics)
    return tuple(
        group for together, results in grouped(units) for group in maker.groups(together, results)
    )


class _VariantMaker:
    """Makes the variants of group after group, in order."""

    def __init__(self, builder: UnitBuilder, units: Iterable[Unit], statistics: Set[Node]) -> None:
        self._builder = builder
        self._statistics = statistics
        self._users = Counter(node for unit in units for node in unit.needs)
        self._made: set[Node] = set()

    def groups(self, units: tuple[Unit, ...], results: tuple[Node, ...]) -> Iterator[Group]:
        """The group of these units; none if groups before have made all that these make."""
        roots = {unit.root: unit.outputs for unit in units if unit.root not in self._made}
        if not roots:
            return
        first = units
        if results:
            first = tuple(self._builder.units(roots, self._statistics, set(self._made)))
        yield Group((first, *self._storing(first, results)))
        self._made.update(node for unit in first for node in unit.makes)

    def _storing(
        self, units: tuple[Unit, ...], results: tuple[Node, ...]
    ) -> Iterator[tuple[Unit, ...]]:
        """All results stored, and inputs that several units read then; or one of the results."""
        if not results:
            return
        yield (storing := self._variant(units, results))
        readers = Counter(load for unit in storing for load in unit.reads())
        in_rows = {load for gathered in readers for load in gathered.inputs}
        inputs = tuple(n for n, count in readers.items() if count > 1 and n not in in_rows)
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
