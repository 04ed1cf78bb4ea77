"""Find results that several passes compute, where computing once and storing would save time."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from graphmerge.schedule.cost import computing_seconds, storing_seconds
from graphmerge.schedule.program import tensor_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.graph import Node
    from graphmerge.schedule.facts import UnitFacts
    from graphmerge.schedule.program import Program
    from graphmerge.schedule.units import Unit

MOST_RESULTS = 8
"""Most results of a group of units for which storing is considered: those that save most."""


def grouped(units: Sequence[Unit]) -> list[tuple[tuple[Unit, ...], tuple[Node, ...]]]:
    """Units that compute the same results together, each group with the results worth storing.

    A group stands where its first unit stood. Most units compute nothing that another does, and
    are a group of their own, without results worth storing.
    """
    groups: dict[int, tuple[tuple[Unit, ...], tuple[Node, ...]]] = {}
    known: dict[UnitFacts, tuple[int, ...]] = {}
    for indices in _connected(units):
        together = tuple(units[index] for index in indices)
        results = worth_storing(together) if len(together) > 1 else ()
        if results:
            groups[indices[0]] = together, results
            continue
        for index, unit in zip(indices, together, strict=True):
            groups[index] = (unit,), _worth_storing_alone(unit, known)
    return [groups[index] for index in sorted(groups)]


def _worth_storing_alone(unit: Unit, known: dict[UnitFacts, tuple[int, ...]]) -> tuple[Node, ...]:
    """What of one unit is worth storing, worked out once for all of its structure."""
    if any(node.op.fold_width for node in unit.makes):
        return ()
    if unit.facts not in known:
        computed = _computed(unit)
        known[unit.facts] = tuple(map(computed.index, worth_storing((unit,))))
    if not known[unit.facts]:
        return ()
    computed = _computed(unit)
    return tuple(computed[place] for place in known[unit.facts])


def _connected(units: Sequence[Unit]) -> list[list[int]]:
    """Indices of units in sets that are connected by what they compute."""
    leader = list(range(len(units)))

    def leader_of(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    first: dict[Node, int] = {}
    for index, unit in enumerate(units):
        for node in _computed(unit):
            other = first.setdefault(node, index)
            if other != index:
                one, two = sorted((leader_of(other), leader_of(index)))
                leader[two] = one
    together: dict[int, list[int]] = defaultdict(list)
    for index in range(len(units)):
        together[leader_of(index)].append(index)
    return list(together.values())


def _computed(unit: Unit) -> list[Node]:
    """Tensors that the passes of a unit compute, as often as they do.

    What a statistic over many tensors is made of is not stored: that would be the whole model.
    """
    if any(node.op.fold_width for node in unit.makes):
        return []
    return [
        instruction.node
        for part in unit.passes
        for instruction in part.program.instructions
        if instruction.output is not None
    ]


def worth_storing(units: Sequence[Unit]) -> tuple[Node, ...]:
    """Results that are computed in several passes, and would be read sooner than computed again.

    Of a chain of results that are always computed together only one is: the last, or one before of
    fewer bytes, such as a mask, if that saves more.
    """
    uses = Uses(units)
    saved = {node: uses.saved_seconds(node) for node in uses.repeated()}
    found = uses.best_of_chains({node: s for node, s in saved.items() if s > 0})
    best = set(sorted(found, key=lambda node: -saved[node])[:MOST_RESULTS])
    return tuple(node for node in found if node in best)


class Uses:
    """How often units compute each tensor, and for what."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._times: Counter[Node] = Counter()
        self._users: dict[Node, set[Node]] = defaultdict(set)
        self._program: dict[Node, Program] = {}
        self._results = {unit.root for unit in units}
        for unit in units:
            for part in unit.passes:
                for instruction in part.program.instructions:
                    node = instruction.node
                    self._times[node] += 1
                    self._program[node] = part.program
                    for value in tensor_inputs(node):
                        self._users[value].add(node)

    def passes(self, node: Node) -> int:
        """How many passes compute a tensor."""
        return self._times[node]

    def repeated(self) -> list[Node]:
        """What is computed several times, and more often than something that is made of it."""
        return [
            node
            for node, count in self._times.items()
            if count > 1
            and (node in self._results or self._is_used_less_often(node) or self._is_narrower(node))
        ]

    def _is_used_less_often(self, node: Node) -> bool:
        return any(self._times[user] < self._times[node] for user in self._users[node])

    def _is_narrower(self, node: Node) -> bool:
        """Whether everything that is made of it takes more bytes."""
        return all(node.spec.nbytes < user.spec.nbytes for user in self._users[node])

    def best_of_chains(self, saved: dict[Node, float]) -> list[Node]:
        """Results without those that store again what a narrow one among them stores, or does."""
        left = dict(saved)
        for node in filter(self._is_narrower, saved):
            rivals = [
                user
                for user in self._users[node]
                if user in left and self._times[user] == self._times[node]
            ]
            best = max((node, *rivals), key=saved.__getitem__)
            for other in (node, *rivals):
                if other is not best:
                    left.pop(other, None)
        return list(left)

    def saved_seconds(self, node: Node) -> float:
        """What storing a tensor saves; below 0 where it is sooner computed again."""
        native = self._program[node].layout is not None
        again = computing_seconds(self.region(node), native=native) * node.spec.numel
        moved = (1 + self._times[node]) * node.spec.nbytes
        return (self._times[node] - 1) * again - storing_seconds(moved)

    def region(self, root: Node) -> list[Node]:
        """What is computed for a node, itself included, down to loads."""
        found, stack = dict.fromkeys((root,)), [root]
        while stack:
            for value in tensor_inputs(stack.pop()):
                if value in self._times and value not in found:
                    found[value] = None
                    stack.append(value)
        return list(found)
