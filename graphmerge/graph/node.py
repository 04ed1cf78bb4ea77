"""Nodes: an op applied to inputs. The same op on the same inputs is the same object."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from attrs import evolve

from graphmerge.errors import GraphError
from graphmerge.graph.op import Access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from graphmerge.graph.op import Op, Space
    from graphmerge.spec import TensorSpec


class Node:
    """One lazily evaluated tensor. Made by `make_node` only; immutable; compared by identity."""

    __slots__ = ("__weakref__", "inputs", "op", "space", "spec")

    op: Op
    """What is computed."""
    inputs: tuple[Node, ...]
    """From what."""
    spec: TensorSpec
    """Shape and dtype of the result."""
    space: Space
    """Whether the result is a weight, a delta or a statistic."""

    def __init__(self, op: Op, inputs: tuple[Node, ...], spec: TensorSpec, space: Space) -> None:
        for name, value in (("op", op), ("inputs", inputs), ("spec", spec), ("space", space)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a node is immutable; {name} cannot be set")

    def __repr__(self) -> str:
        settings = self.op.settings()
        return (
            f"{self.op.kind}({settings}): {self.spec}"
            if settings
            else f"{self.op.kind}: {self.spec}"
        )


_nodes: WeakValueDictionary[tuple[Op, tuple[Node, ...]], Node] = WeakValueDictionary()
"""Every living node. Keys hold the nodes that the value holds as well, so nothing outlives its
use."""


def is_statistic(node: Node) -> bool:
    """Whether the value is a small one: it has no tiles."""
    return node.op.access in (Access.REDUCE, Access.SMALL)


def make_node(op: Op, *inputs: Node) -> Node:
    """The node of this op on these inputs, the existing one if there is one.

    Raises:
        GraphError: shapes, dtypes or spaces do not fit; the message shows the op and its inputs.
    """
    key = (op, inputs)
    node = _nodes.get(key)
    if node is None:
        try:
            spec = op.infer(tuple(value.spec for value in inputs))
            space = op.space(tuple(value.space for value in inputs))
        except GraphError as error:
            shown = ", ".join(f"{value!r} ({value.space.value})" for value in inputs)
            where = f"{op.kind}({shown})"
            raise GraphError(
                *(evolve(problem, where=where) for problem in error.problems)
            ) from None
        node = _nodes[key] = Node(op, inputs, spec, space)
    return node


def postorder(
    roots: Iterable[Node],
    *,
    seen: set[Node] | None = None,
    stop: Callable[[Node], bool] | None = None,
    inputs_of: Callable[[Node], tuple[Node, ...]] = attrgetter("inputs"),
) -> Iterator[Node]:
    """Every node below the roots, inputs before users, each once.

    What is in `seen` is left out, and what is below a node at which to `stop`.
    """
    done = set() if seen is None else seen
    stack = list(reversed(list(roots)))
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        is_end = stop is not None and stop(node)
        missing = [] if is_end else [value for value in inputs_of(node) if value not in done]
        if missing:
            stack.extend(reversed(missing))
        else:
            done.add(node)
            stack.pop()
            yield node
