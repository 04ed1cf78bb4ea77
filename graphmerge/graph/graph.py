"""A graph: the output tensors of a merge, each with the node that computes it."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from attrs import field, frozen

from graphmerge.graph.node import postorder
from graphmerge.graph.pattern import Pattern, Value, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
        return list(postorder(output.node for output in self.outputs))

    def sources(self) -> set[Op]:
        """Every op without inputs: what is loaded."""
        found = set(chain.from_iterable(output.value.leaves for output in self.outputs))
        over_tensors: set[Node] = set()
        for pattern in {output.value.pattern for output in self.outputs}:
            found.update(pattern.fixed)
            over_tensors.update(node for node in pattern.nodes if node.op.fold_width)
        found.update(node.op for node in postorder(over_tensors) if not node.inputs)
        return found

    @cached_property
    def source_count(self) -> int:
        """Number of ops without inputs."""
        alike = sum(
            len(pattern.leaves) * len(members) for pattern, members in self.partition.alike.items()
        )
        return alike + len(Graph(self.partition.single).sources())

    @cached_property
    def partition(self) -> Partition:
        """Which outputs can be treated by their pattern, and which one by one."""
        return _partition(self.outputs)

    def kinds(self) -> dict[str, int]:
        """Number of nodes of each kind, by falling number."""
        counts: Counter[str] = Counter()
        for pattern, members in self.partition.alike.items():
            for node in pattern.nodes:
                counts[node.op.kind] += len(members)
        single = postorder(output.node for output in self.partition.single)
        counts.update(node.op.kind for node in single)
        return dict(counts.most_common())


@frozen(eq=False)
class Partition:
    """Outputs by whether they share nodes with others."""

    alike: Mapping[Pattern, list[Output]]
    """Outputs that share no node with any other, by pattern."""
    single: tuple[Output, ...]
    """All others."""


def _repeated(outputs: Iterable[Output]) -> set[Op]:
    """What is loaded for more than one output."""
    times = Counter(output.value.pattern for output in outputs)
    fixed = [op for pattern, count in times.items() for op in pattern.fixed * min(count, 2)]
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
        if leaves and not pattern.fixed and is_own:
            alike.setdefault(pattern, []).append(output)
        else:
            single.append(output)
    return Partition(alike, tuple(single))
