"""A graph: the output tensors of a merge, each with the node that computes it."""

from __future__ import annotations

from collections import Counter

from attrs import frozen

from graphmerge.graph.node import Node, postorder


@frozen(eq=False)
class Output:
    """One tensor of the finished checkpoint."""

    name: str
    """Tensor name in the output."""
    node: Node
    """What computes it."""
    reason: str = ""
    """Why it is copied instead of merged; empty for merged tensors."""


@frozen
class Omission:
    """An input tensor that does not reach the output."""

    model: str
    """Model that has it."""
    name: str
    """Tensor name."""
    reason: str
    """Why it is left out."""


@frozen(eq=False)
class Graph:
    """Every output tensor of a merge, in the order in which it is written."""

    outputs: tuple[Output, ...]
    """Output tensors."""
    omissions: tuple[Omission, ...] = ()
    """Input tensors left out, with the reason."""
    warnings: tuple[str, ...] = ()
    """What the user should know before running."""

    def nodes(self) -> list[Node]:
        """Every node, inputs before users."""
        return list(postorder(output.node for output in self.outputs))

    def kinds(self) -> dict[str, int]:
        """Number of nodes of each kind, by falling number."""
        return dict(Counter(node.op.kind for node in self.nodes()).most_common())
