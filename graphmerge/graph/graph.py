"""A graph: the output tensors of a merge, each with the node that computes it."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from attrs import field

from graphmerge.frozen_classes import frozen
from graphmerge.graph.alike import all_inputs, goes_by_kinds, nodes_of_one, tops_of_kinds
from graphmerge.graph.node import postorder
from graphmerge.graph.pattern import Pattern, Value, is_over_tensors, unchanging, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

    from graphmerge.graph.alike import Alike
    from graphmerge.graph.node import Node
    from graphmerge.graph.op import Op
    from graphmerge.spec import TensorSpec


@frozen(eq=False)
class Output:
    """One tensor of the finished checkpoint."""

    name: str
    """Tensor name in the output."""
    value: Value = field(converter=value_of)
    """What computes it; a node stands for a value that shares its pattern with no other."""
    reason: str = ""
    """Why it is copied instead of merged; empty for merged tensors."""

    @property
    def node(self) -> Node:
        """The node that computes it."""
        return self.value.node

    @property
    def spec(self) -> TensorSpec:
        """Its shape and dtype."""
        return self.value.spec


@frozen
class Omission:
    """An input tensor that does not reach the output."""

    model: str
    """Model that has it."""
    name: str
    """Tensor name."""
    reason: str
    """Why it is left out."""


@frozen(eq=False, slots=False)
class Graph:
    """Every output tensor of a merge, in the order in which it is written."""

    outputs: tuple[Output, ...]
    """Output tensors."""
    omissions: tuple[Omission, ...] = ()
    """Input tensors left out, with the reason."""
    warnings: tuple[str, ...] = ()
    """What the user should know before running."""
    notes: tuple[str, ...] = ()
    """What is done with vocabularies, as the user asked or by rule."""
    reading_bytes: int = 0
    """Memory that was taken to make it, beside that of its nodes: tokenizers, as they were read."""

    def nodes(self) -> list[Node]:
        """Every node, inputs before users."""
        roots = (output.node for output in self.outputs)
        return list(postorder(roots, inputs_of=all_inputs))

    def sources(self) -> set[Op]:
        """Every op without inputs: what is loaded."""
        found: set[Op] = set()
        leaves = {id(own): own for own in (output.value.leaves for output in self.outputs)}
        over_tensors: set[Node] = set()
        for pattern in {output.value.pattern for output in self.outputs}:
            found.update(op for op in pattern.fixed if not op.fold_width)
            over_tensors.update(filter(is_over_tensors, pattern.nodes))
        below = list(postorder(over_tensors))
        found.update(node.op for node in below if not node.inputs)
        for alike in {alike for node in below for alike in node.op.alike}:
            leaves |= {id(own): own for own in (member.leaves for member in alike.members)}
        found.update(chain.from_iterable(leaves.values()))
        return found

    @cached_property
    def source_count(self) -> int:
        """Number of ops without inputs."""
        alike = sum(
            len(pattern.leaves) * len(members) for pattern, members in self.partition.alike.items()
        )
        return alike + len({node.op for node in self.single_nodes if not node.inputs})

    @cached_property
    def partition(self) -> Partition:
        """Which outputs can be treated by their pattern, and which one by one."""
        return _partition(self.outputs)

    @cached_property
    def single_nodes(self) -> tuple[Node, ...]:
        """Nodes of the outputs that are treated one by one, inputs before users.

        A statistic over tensors by kinds is one of them, what it is made of is not.
        """
        roots = (output.node for output in self.partition.single)
        return tuple(postorder(roots, stop=goes_by_kinds))

    def kinds(self) -> dict[str, int]:
        """Number of nodes of each kind, by falling number."""
        counts: Counter[str] = Counter()
        shared: dict[Node, None] = {}
        for pattern, members in self.partition.alike.items():
            for node in pattern.nodes:
                if node in pattern.unchanging:
                    shared[node] = None
                else:
                    counts[node.op.kind] += len(members)
        for kind in self.surveyed:
            for own in kind.tops.values():
                nodes = nodes_of_one(own)
                shared |= dict.fromkeys(filter(unchanging(nodes).__contains__, nodes))
        counts.update(node.op.kind for node in self.single_nodes if node not in shared)
        for kind in self.surveyed:
            *measured, merged = kind.own_nodes() if kind.output else (*kind.own_nodes(), ())
            for node in dict.fromkeys(chain.from_iterable(measured)):
                if node in merged:
                    continue
                counts[node.op.kind] += len(kind.alike.members)
        counts.update(node.op.kind for node in shared)
        return dict(counts.most_common())

    def over_tensors(self) -> list[Node]:
        """Statistics over tensors by kinds, inputs before users."""
        patterns = dict.fromkeys(output.value.pattern for output in self.outputs)
        roots = chain.from_iterable(pattern.nodes for pattern in patterns)
        found = postorder(filter(is_over_tensors, roots))
        return [node for node in found if node.op.alike]

    @cached_property
    def surveyed(self) -> tuple[Surveyed, ...]:
        """The kinds of tensors that statistics over tensors go by."""
        tops: dict[Alike, dict[Node, tuple[Node, ...]]] = {}
        for statistic in self.over_tensors():
            for alike, own in tops_of_kinds(statistic):
                tops.setdefault(alike, {})[statistic] = own
        if not tops:
            return ()
        first = set(chain.from_iterable(alike.members[0].leaves for alike in tops))
        owners = {
            leaf: output for output in self.outputs for leaf in output.value.leaves if leaf in first
        }
        return tuple(
            Surveyed(alike, own, next(filter(None, map(owners.get, alike.members[0].leaves)), None))
            for alike, own in tops.items()
        )


@frozen(eq=False)
class Surveyed:
    """Tensors of a kind, as statistics over tensors see them."""

    alike: Alike
    """The tensors."""
    tops: Mapping[Node, tuple[Node, ...]]
    """What each statistic takes of the first of them."""
    output: Output | None
    """The output that is made of the first of them, if there is one."""

    def own_nodes(self) -> list[tuple[Node, ...]]:
        """Nodes of the first tensor in order, for each statistic and then for the output."""
        found = [nodes_of_one(own) for own in self.tops.values()]
        if self.output is not None:
            found.append(tuple(self.output.value.bind().values()))
        return [
            tuple(node for node in nodes if node not in common)
            for nodes in found
            for common in (unchanging(nodes),)
        ]


@frozen(eq=False)
class Partition:
    """Outputs by whether they share nodes with others."""

    alike: Mapping[Pattern, list[Output]]
    """Outputs that share no node with any other, by pattern."""
    single: tuple[Output, ...]
    """All others."""
    repeated: Set[Op]
    """What is loaded for more than one output."""


def _repeated(outputs: Iterable[Output]) -> set[Op]:
    """What is loaded for more than one output."""
    times = Counter(output.value.pattern for output in outputs)
    fixed = [
        op
        for pattern, count in times.items()
        for op in pattern.fixed * min(count, 2)
        if not op.alike
    ]
    loads = [*chain.from_iterable(output.value.leaves for output in outputs), *fixed]
    if len(set(loads)) == len(loads):
        return set()
    return {op for op, count in Counter(loads).items() if count > 1}


def _partition(outputs: tuple[Output, ...]) -> Partition:
    repeated = _repeated(outputs)
    alike: dict[Pattern, list[Output]] = {}
    single: list[Output] = []
    for output in outputs:
        pattern, leaves = output.value.pattern, output.value.leaves
        is_own = not repeated or repeated.isdisjoint(leaves)
        if leaves and pattern.is_shared and is_own:
            alike.setdefault(pattern, []).append(output)
        else:
            single.append(output)
    return Partition(alike, tuple(single), repeated)
