"""Statistics over many tensors, of which the graph has the first of each kind only.

Such a statistic takes something of every tensor. What it takes of those of one kind differs in
leaves and names alone, so its inputs are those of the first, and its op knows the others.
"""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph.node import Node, postorder
from graphmerge.graph.pattern import bind_nodes, is_over_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from graphmerge.graph.op import Op

Item = TypeVar("Item")


@frozen(eq=False)
class Member:
    """One of the tensors of a kind."""

    place: int
    """Its number among the tensors of all kinds."""
    leaves: tuple[Op, ...]
    """From what it is made: as many as the first one has."""
    tensors: tuple[str, ...]
    """The names that its random masks depend on: as many as the first one has."""


@frozen(eq=False)
class Alike:
    """The tensors of a kind, the first one among them."""

    members: tuple[Member, ...]
    """All of them."""

    def bind(self, tops: Iterable[Node], member: Member) -> Mapping[Node, Node]:
        """The nodes of a member, by those of the first one, down from its tops."""
        return self._bind(nodes_of_one(tops), member)

    def bind_all(self, tops: Iterable[Node]) -> Iterator[tuple[Member, Mapping[Node, Node]]]:
        """Every member, with its nodes by those of the first one."""
        nodes = nodes_of_one(tops)
        for member in self.members:
            yield member, self._bind(nodes, member)

    def _bind(self, nodes: tuple[Node, ...], member: Member) -> Mapping[Node, Node]:
        first = self.members[0]
        if member is first:
            return {node: node for node in nodes}
        return bind_nodes(
            nodes,
            dict(zip(first.leaves, member.leaves, strict=True)),
            dict(zip(first.tensors, member.tensors, strict=True)),
        )


def nodes_of_one(tops: Iterable[Node]) -> tuple[Node, ...]:
    """What is made of one tensor for some tops; statistics over tensors are ends."""
    return tuple(postorder(tops, stop=is_over_tensors))


def goes_by_kinds(node: Node) -> bool:
    """Whether a node is a statistic over tensors that has the first of each kind only below it."""
    return bool(node.op.alike)


def by_place(turns: Iterable[tuple[int, Iterable[Item]]]) -> Iterator[Item]:
    """What belongs to tensors of several kinds, given with their places, in their order."""
    return chain.from_iterable(own for _, own in sorted(turns, key=itemgetter(0)))


def tops_of_kinds(node: Node) -> Iterator[tuple[Alike, tuple[Node, ...]]]:
    """What a statistic over tensors takes of the first tensor of each kind."""
    width = node.op.fold_width
    for number, alike in enumerate(node.op.alike):
        yield alike, node.inputs[number * width : (number + 1) * width]


def all_inputs(node: Node) -> tuple[Node, ...]:
    """The inputs of a node; of a statistic over tensors what it takes of every one, in order."""
    if not node.op.alike:
        return node.inputs
    found = [
        (member.place, tuple(bound[top] for top in tops))
        for alike, tops in tops_of_kinds(node)
        for member, bound in alike.bind_all(tops)
    ]
    others = node.inputs[len(node.op.alike) * node.op.fold_width :]
    return (*by_place(found), *others)
