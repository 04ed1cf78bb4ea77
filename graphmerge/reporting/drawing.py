"""The graph of a merge for a drawing: what repeats over layers and matrices is drawn once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from graphmerge.checkpoint.folding import fold_names
from graphmerge.frozen_classes import frozen
from graphmerge.graph import postorder
from graphmerge.ops.custom import Custom
from graphmerge.ops.sources import LoadTensor
from graphmerge.reporting.wording import counted

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from graphmerge.graph import Graph, Node, Output

SHOWN_PATTERNS = 3
"""Patterns of names that a label lists; the rest are counted."""
VARIES = "varies"
"""Stands for settings that differ in more than their numbers."""
LOAD = LoadTensor.kind
"""Role of the nodes that read a stored tensor."""

_NUMBER = re.compile(r"((?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]|\.\d))")
_Structure: TypeAlias = "tuple[tuple[Hashable, tuple[int, ...]], ...]"


@frozen
class Pattern:
    """Tensor names that differ in nothing but numbers."""

    pattern: str
    """The names, with every run of numbers in braces."""
    tensors: int
    """How many names these are."""

    def __str__(self) -> str:
        return self.pattern + (f" ({self.tensors})" if self.tensors > 1 else "")


@frozen
class FoldedNode:
    """Nodes at the same place in the computations of several tensors."""

    id: str
    """Name of its own in the drawing."""
    kind: str
    """Kind of the op."""
    settings: str
    """Its settings; numbers that differ as `0.1..0.5`, what differs otherwise as `varies`."""
    spec: str
    """Shape and dtype; the dtype alone where shapes differ."""
    space: str
    """What the values mean: weight, delta, statistic or record."""
    count: int
    """How many nodes these are."""

    @property
    def role(self) -> str:
        """What to colour by: the space, except for nodes that read a stored tensor."""
        return LOAD if self.kind == LOAD else self.space


@frozen
class Edge:
    """The result of one node goes into another."""

    source: str
    """Id of the node that gives it."""
    target: str
    """Id of the node that takes it."""
    position: int
    """Which of the target's inputs it is, from 0."""


@frozen
class Group:
    """Output tensors that are computed in the same way, and how."""

    output: str
    """Id of the node that is written."""
    patterns: tuple[Pattern, ...]
    """Names of the tensors, folded."""
    tensors: int
    """How many tensors these are."""
    reason: str
    """Why they are copied instead of merged; empty for merged tensors."""
    nodes: tuple[FoldedNode, ...]
    """Nodes, inputs before users."""
    edges: tuple[Edge, ...]
    """Edges, in the order of the nodes that they go into."""

    def heading(self) -> tuple[str, ...]:
        """Lines that say which tensors these are: their number, and the first of the patterns."""
        title = counted(self.tensors, "tensor") + (
            f", copied: {self.reason}" if self.reason else ""
        )
        return (title, *_first(list(map(str, self.patterns)), SHOWN_PATTERNS))


@frozen
class Drawing:
    """A graph, folded."""

    groups: tuple[Group, ...]
    """Groups, in the order of the first tensor of each."""

    @property
    def nodes(self) -> tuple[FoldedNode, ...]:
        """The nodes of every group."""
        return tuple(node for group in self.groups for node in group.nodes)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges of every group."""
        return tuple(edge for group in self.groups for edge in group.edges)


@frozen(eq=False)
class _Member:
    """A tensor of a group."""

    name: str
    nodes: tuple[Node, ...]


def fold_graph(graph: Graph) -> Drawing:
    """The graph with tensors together that are computed in the same way but for numbers.

    In the same way means: ops of the same kinds and dtypes, on the same inputs of each other, over
    tensors of the same models. Nodes that two groups share are drawn in both.
    """
    members: dict[tuple[str, _Structure], list[_Member]] = {}
    for output in graph.outputs:
        member = _member(output)
        members.setdefault((output.reason, _structure(member.nodes)), []).append(member)
    groups: list[Group] = []
    drawn = 0
    for (reason, structure), alike in members.items():
        groups.append(_group(reason, structure, alike, first=drawn))
        drawn += len(structure)
    return Drawing(tuple(groups))


def _member(output: Output) -> _Member:
    return _Member(output.name, tuple(postorder([output.node])))


def _structure(nodes: Sequence[Node]) -> _Structure:
    """What is the same for all tensors of a group: kinds, and who is whose input."""
    numbers = {node: number for number, node in enumerate(nodes)}
    return tuple((_kind(node), tuple(numbers[value] for value in node.inputs)) for node in nodes)


def _kind(node: Node) -> Hashable:
    op = node.op
    named = op.model if isinstance(op, LoadTensor) else op.name if isinstance(op, Custom) else ""
    return (op.kind, named, node.spec.dtype)


def _group(reason: str, structure: _Structure, members: Sequence[_Member], *, first: int) -> Group:
    names = [member.name for member in members]
    ids = [f"n{first + number}" for number in range(len(structure))]
    alike = zip(*(member.nodes for member in members), strict=True)
    return Group(
        output=ids[-1],
        patterns=tuple(Pattern(found.pattern, len(found.names)) for found in fold_names(names)),
        tensors=len(members),
        reason=reason,
        nodes=tuple(_folded(name, nodes, names) for name, nodes in zip(ids, alike, strict=True)),
        edges=tuple(
            Edge(ids[source], target, position)
            for target, (_, sources) in zip(ids, structure, strict=True)
            for position, source in enumerate(sources)
        ),
    )


def _folded(name: str, nodes: Sequence[Node], outputs: Sequence[str]) -> FoldedNode:
    """The nodes at one place in the computations of outputs of these names."""
    one = nodes[0]
    loads = [node.op for node in nodes if isinstance(node.op, LoadTensor)]
    specs = dict.fromkeys(node.spec for node in nodes)
    return FoldedNode(
        id=name,
        kind=one.op.kind,
        settings=_source(loads, outputs)
        if loads
        else merged_settings(node.op.settings() for node in nodes),
        spec=str(one.spec) if len(specs) == 1 else one.spec.dtype.value,
        space=one.space.value,
        count=len(dict.fromkeys(nodes)),
    )


def _source(ops: Sequence[LoadTensor], outputs: Sequence[str]) -> str:
    """The model that tensors are read from, and which, where their names are not the outputs'."""
    names = [op.entry.name for op in ops]
    others = dict.fromkeys(
        name for name, output in zip(names, outputs, strict=True) if name != output
    )
    patterns = [found.pattern for found in fold_names(others)]
    model = ops[0].model
    return f"{model}: {' '.join(_first(patterns, 1))}" if patterns else model


def merged_settings(texts: Iterable[str]) -> str:
    """Settings of nodes that are drawn as one.

    They are as they are where all are equal, and have `0.1..0.5` in the place of numbers that
    differ. Where more differs than numbers, `varies`.
    """
    distinct = [_NUMBER.split(text) for text in dict.fromkeys(texts)]
    if len({tuple(parts[::2]) for parts in distinct}) > 1:
        return VARIES
    return "".join(_range(list(dict.fromkeys(parts))) for parts in zip(*distinct, strict=True))


def _range(texts: Sequence[str]) -> str:
    """A text that is the same everywhere; of different numbers the least and the greatest."""
    if len(texts) == 1:
        return texts[0]
    return f"{min(texts, key=float)}..{max(texts, key=float)}"


def _first(texts: Sequence[str], shown: int) -> list[str]:
    """The first few, and how many there are beside."""
    rest = len(texts) - shown
    return [*texts[:shown], *([f"and {rest} more"] if rest > 0 else [])]
