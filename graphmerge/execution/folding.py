"""A statistic over many tensors while it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import all_inputs
from graphmerge.statistics import fold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.graph import Node
    from graphmerge.statistics import Statistic


class Folding:
    """Takes in what the passes over one tensor after the other make, and keeps none of it."""

    def __init__(self, node: Node, given: Mapping[Node, Statistic]) -> None:
        """Begin.

        Args:
            node: The statistic.
            given: Statistics that are made already, those among its inputs with others.
        """
        inputs = all_inputs(node)
        self._node = node
        self._fold = fold(node.op)
        self._state = self._fold.begin(node.op, tuple(value.spec for value in inputs))
        self._places: dict[Node, list[int]] = {}
        for place, value in enumerate(inputs):
            self._places.setdefault(value, []).append(place)
        for value in self._places:
            if value in given:
                self.take(value, given[value])

    def take(self, value: Node, statistic: Statistic) -> None:
        """Take in an input, wherever it stands."""
        for place in self._places[value]:
            self._fold.take(self._node.op, self._state, place, statistic)

    def finish(self) -> Statistic:
        """The statistic."""
        return self._fold.finish(self._node.op, self._state)
