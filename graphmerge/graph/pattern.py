"""Graphs of single tensors that differ only in what they load, kept as one.

A model of 80 layers has some ten kinds of tensors. What is made of a kind is worked out once, for
its first tensor; of every other one only the leaves are kept, and the names that random masks
depend on. Nodes are made where somebody asks.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph.node import Node, make_node, postorder

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from graphmerge.graph.op import Op, Space
    from graphmerge.spec import TensorSpec

Leaf = TypeVar("Leaf", bound="Hashable")

_BOUND_AT_ONCE = 16
"""Values whose nodes are remembered: units of one output ask for them one after the other."""


@frozen(eq=False, slots=False)
class Pattern:
    """The graph of one tensor; others have the same one over other leaves."""

    root: Node
    """What computes the first tensor."""
    leaves: tuple[Op, ...] = ()
    """Ops without inputs that the others have other ones for, each once; their specs are equal."""
    tensors: tuple[str, ...] = ()
    """Names in the settings of ops that the others have other ones for, each once."""

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node of the first tensor, inputs before users.

        A statistic over many tensors is one of them, what it is made of is not.
        """
        return tuple(postorder([self.root], stop=is_over_tensors))

    @cached_property
    def fixed(self) -> tuple[Op, ...]:
        """Ops that end the graph and that all of the tensors have in common."""
        own = set(self.leaves)
        ends = (node for node in self.nodes if not node.inputs or is_over_tensors(node))
        return tuple(node.op for node in ends if node.op not in own)

    @cached_property
    def is_shared(self) -> bool:
        """Whether others can have it: all ends are leaves, or statistics over tensors by kinds."""
        return all(op.alike for op in self.fixed)

    @cached_property
    def unchanging(self) -> frozenset[Node]:
        """Nodes that all of the tensors have in common: statistics over tensors, and their own."""
        return unchanging(self.nodes)

    def bind(self, leaves: tuple[Op, ...], tensors: tuple[str, ...] = ()) -> Mapping[Node, Node]:
        """The nodes of the tensor that has these leaves and names, by those of the first."""
        if leaves == self.leaves and tensors == self.tensors:
            return {node: node for node in self.nodes}
        given = dict(zip(self.leaves, leaves, strict=True))
        return bind_nodes(self.nodes, given, dict(zip(self.tensors, tensors, strict=True)))


def unchanging(nodes: Iterable[Node]) -> frozenset[Node]:
    """Statistics over tensors, and what is made of nothing else; inputs come before users."""
    found: set[Node] = set()
    for node in nodes:
        if is_over_tensors(node) or (node.inputs and found.issuperset(node.inputs)):
            found.add(node)
    return frozenset(found)


def bind_nodes(
    nodes: Iterable[Node], leaves: Mapping[Op, Op], names: Mapping[str, str]
) -> Mapping[Node, Node]:
    """The same nodes over other leaves, for tensors of other names; inputs come before users."""
    bound: dict[Node, Node] = {}
    for node in nodes:
        if is_over_tensors(node):
            bound[node] = node
        else:
            op = node.op.for_tensors(names) if node.inputs else leaves.get(node.op, node.op)
            bound[node] = make_node(op, *(bound[value] for value in node.inputs))
    return bound


def is_over_tensors(node: Node) -> bool:
    """Whether a node is a statistic over many tensors."""
    return node.op.fold_width > 0


@frozen(eq=False)
class Value:
    """A tensor that is computed, or loaded: a pattern over leaves of its own."""

    pattern: Pattern
    """How it is computed."""
    leaves: tuple[Op, ...] = ()
    """From what: as many as the pattern has."""
    tensors: tuple[str, ...] = ()
    """For which tensors: as many names as the pattern has."""

    @property
    def node(self) -> Node:
        """The node that computes it."""
        if self.leaves is self.pattern.leaves and self.tensors == self.pattern.tensors:
            return self.pattern.root
        return self.bind()[self.pattern.root]

    def bind(self) -> Mapping[Node, Node]:
        """Its nodes, by those of the tensor that the pattern is of."""
        return _bound(self)

    @property
    def spec(self) -> TensorSpec:
        """Its shape and dtype."""
        return self.pattern.root.spec

    @property
    def space(self) -> Space:
        """Its meaning."""
        return self.pattern.root.space


@lru_cache(maxsize=_BOUND_AT_ONCE)
def _bound(value: Value) -> Mapping[Node, Node]:
    return value.pattern.bind(value.leaves, value.tensors)


def value_of(made: Node | Value) -> Value:
    """The value of a node that shares its pattern with no other."""
    return made if isinstance(made, Value) else Value(Pattern(made))


def shared_pattern(
    root: Node, leaves: tuple[Op, ...], tensors: tuple[str, ...] = ()
) -> Pattern | None:
    """The pattern of a root over leaves; None if it has further ones, so that none can share it."""
    pattern = Pattern(root, leaves, tensors)
    return pattern if pattern.is_shared else None


def pruned(pattern: Pattern) -> tuple[Pattern, tuple[int, ...]]:
    """The pattern over the leaves that its root needs, and which of its leaves these are."""
    needed = {node.op for node in pattern.nodes if not node.inputs}
    chosen = tuple(index for index, leaf in enumerate(pattern.leaves) if leaf in needed)
    if len(chosen) == len(pattern.leaves):
        return pattern, chosen
    leaves = tuple(pattern.leaves[index] for index in chosen)
    return Pattern(pattern.root, leaves, pattern.tensors), chosen


def arrangement(leaves: tuple[Hashable, ...]) -> tuple[int, ...]:
    """Which leaves are the same: numbers of first occurrence, empty if all are different."""
    first: dict[Hashable, int] = {}
    places = tuple([first.setdefault(leaf, place) for place, leaf in enumerate(leaves)])
    return places if len(first) < len(leaves) else ()


def distinct(leaves: Iterable[Leaf]) -> tuple[Leaf, ...]:
    """The leaves, each once."""
    return tuple(dict.fromkeys(leaves))
