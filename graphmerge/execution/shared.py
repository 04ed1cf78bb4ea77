"""What units make for one another: statistics, and tensors that are stored in memory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.graph import is_statistic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from graphmerge.execution.pool import BufferPool
    from graphmerge.execution.reading import Bytes
    from graphmerge.graph import Node
    from graphmerge.schedule.units import Unit
    from graphmerge.statistics import Statistic


class SharedValues:
    """Values from the unit that makes them to the last that lets go of them.

    Not thread-safe: the engine calls it under its lock.
    """

    def __init__(self, units: Iterable[Unit], pool: BufferPool) -> None:
        self.stored_bytes = 0
        self._users = Counter(node for unit in units for node in unit.needs)
        self._pool = pool
        self._made: set[Node] = set()
        self._spoilt: set[Node] = set()
        self._statistics: dict[Node, Statistic] = {}
        self._tensors: dict[Node, Bytes] = {}

    def has_all(self, nodes: Iterable[Node]) -> bool:
        """Whether all of these are made."""
        return self._made.issuperset(nodes)

    def room_for(self, unit: Unit) -> Bytes | None:
        """Memory for the tensor that the unit stores; None if it stores none."""
        node = unit.stored
        if node is None:
            return None
        assert node not in self._tensors, "a tensor is stored by two units"
        self.stored_bytes += node.spec.nbytes
        self._tensors[node] = self._pool.take(node.spec.nbytes)
        return self._tensors[node]

    def are_spoilt(self, nodes: Iterable[Node]) -> bool:
        """Whether there was NaN or infinity in what any of these is made of."""
        return not self._spoilt.isdisjoint(nodes)

    def add(self, unit: Unit, statistics: Mapping[Node, Statistic], *, is_spoilt: bool) -> None:
        """Take up what a finished unit has made, and free what no other needs."""
        self._made.update(unit.makes)
        if is_spoilt:
            self._spoilt.update(unit.makes)
        self._statistics.update(
            {node: statistics[node] for node in unit.makes if is_statistic(node)}
        )
        for node in unit.makes:
            if not self._users[node]:
                self._free(node)

    def statistics_for(self, unit: Unit) -> dict[Node, Statistic]:
        """The statistics that a unit needs."""
        return {node: self._statistics[node] for node in unit.needs if is_statistic(node)}

    def tensors_for(self, unit: Unit) -> dict[Node, Bytes]:
        """The stored tensors that a unit needs."""
        return {node: self._tensors[node] for node in unit.needs if not is_statistic(node)}

    def let_go(self, node: Node) -> None:
        """One unit needs the value no more; with the last one it is freed."""
        self._users[node] -= 1
        if not self._users[node]:
            self._free(node)

    def _free(self, node: Node) -> None:
        if is_statistic(node):
            del self._statistics[node]
        else:
            self.stored_bytes -= node.spec.nbytes
            self._pool.give(self._tensors.pop(node))
