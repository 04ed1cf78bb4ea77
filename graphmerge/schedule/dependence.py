"""Which statistics depend on which, and which of them units share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import Node, is_statistic, tops_of_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Set


def marked_below(
    tops: Iterable[Node], shared: Set[Node], stop: Callable[[Node], bool]
) -> Iterator[Node]:
    """Statistics and shared nodes among and below some nodes, inputs first, each once.

    Args:
        tops: Where to begin.
        shared: What units make for others.
        stop: Whether not to look below such a node; below the tops themselves is always looked.
    """
    first = tuple(tops)
    stack, done = [(node, False) for node in reversed(first)], set[Node]()
    while stack:
        node, expanded = stack.pop()
        if expanded:
            yield node
            continue
        if node in done:
            continue
        done.add(node)
        is_marked = node in shared or is_statistic(node)
        if is_marked:
            stack.append((node, True))
        if node in first or not (is_marked and stop(node)):
            stack.extend((value, False) for value in reversed(node.inputs))


def shared_statistics(roots: Iterable[Node], known: Set[Node] = frozenset()) -> set[Node]:
    """Statistics that become units of their own.

    They are those that more than one unit would make, and those over many tensors.

    Args:
        roots: Of the units.
        known: What units make for others already; nothing below is looked at.
    """
    roots, shared = tuple(roots), set[Node]()

    def is_leaf(node: Node) -> bool:
        return node in shared or node in known or node.op.fold_width > 0

    while True:
        owner: dict[Node, Node] = {}
        found = {
            node
            for root, tops in _owners((*roots, *shared), shared | known)
            for node in marked_below(tops, known, is_leaf)
            if node is not root
            and is_statistic(node)
            and (node.op.fold_width > 0 or owner.setdefault(node, tops[0]) is not tops[0])
        } - (shared | known)
        if not found:
            return shared
        shared.update(found)


def _owners(roots: Iterable[Node], shared: Set[Node]) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """What would make a statistic: a unit, or a tensor's part of a statistic over many."""
    for root in roots:
        if root.op.fold_width:
            for tops in tops_by_tensor(root, shared):
                yield root, tops
            for alike, tops in tops_of_kinds(root):
                if len(alike.members) > 1:  # a second owner, for the rest of the kind
                    bound = alike.bind(tops, alike.members[1])
                    yield root, tuple(bound[top] for top in tops)
        else:
            yield root, (root,)


def tops_by_tensor(root: Node, shared: Set[Node]) -> Iterator[tuple[Node, ...]]:
    """The reductions that a statistic over many tensors takes in, those of each tensor together.

    Each once, and without shared ones: they have units of their own. By kinds, those of the first.
    """
    width = root.op.fold_width
    tops = [value for value in root.inputs if not value.op.fold_width]
    for start in range(0, len(tops), width):
        own = dict.fromkeys(tops[start : start + width])
        found = tuple(node for node in own if node not in shared)
        if found:
            yield found
