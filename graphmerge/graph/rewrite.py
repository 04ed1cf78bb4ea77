"""Rewrites: the same values with less work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph.node import Node, make_node, postorder

if TYPE_CHECKING:
    from collections.abc import Iterable


def simplify(roots: Iterable[Node]) -> dict[Node, Node]:
    """What each node becomes when steps that change nothing are left out.

    What an op changes nothing on is the op's own knowledge: see `Op.simplified`.
    """
    done: dict[Node, Node] = {}
    for node in postorder(roots):
        inputs = tuple(done[value] for value in node.inputs)
        same = all(new is old for new, old in zip(inputs, node.inputs, strict=True))
        changed = node if same else make_node(node.op, *inputs)
        done[node] = changed.op.simplified(changed)
    return done
