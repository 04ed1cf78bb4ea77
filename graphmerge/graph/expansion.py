"""Graphs in which statistics over tensors go by kinds, and those in which that cannot be.

Where something is worked out for a tensor that several need, a statistic over tensors and the
output, say, it must be one node for them all; then the nodes of every tensor are made.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from attrs import evolve

from graphmerge.graph.alike import all_inputs
from graphmerge.graph.graph import Graph, Output
from graphmerge.graph.node import is_statistic, make_node, postorder
from graphmerge.graph.pattern import unchanging

if TYPE_CHECKING:
    from graphmerge.graph.node import Node


def expanded_where_needed(graph: Graph) -> Graph:
    """The graph itself, or the same without kinds if what is shared within a tensor wants that."""
    if not graph.surveyed:
        return graph
    own = filter(is_statistic, graph.single_nodes)
    is_mixed = not unchanging(graph.single_nodes).issuperset(own)
    return expanded(graph) if is_mixed or _shares_statistics(graph) else graph


def _shares_statistics(graph: Graph) -> bool:
    """Whether a statistic of one tensor is needed for more than one end."""
    for kind in graph.surveyed:
        times = Counter(chain.from_iterable(kind.own_nodes()))
        if any(count > 1 and is_statistic(node) for node, count in times.items()):
            return True
    return False


def expanded(graph: Graph) -> Graph:
    """The same graph with the nodes of every tensor below statistics over tensors."""
    roots = [output.node for output in graph.outputs]
    done: dict[Node, Node] = {}
    inputs_of = cache(all_inputs)  # it makes nodes
    for node in postorder(roots, inputs_of=inputs_of):
        op = evolve(cast("Any", node.op), alike=()) if node.op.alike else node.op
        done[node] = make_node(op, *(done[value] for value in inputs_of(node)))
    outputs = (
        Output(output.name, done[root], output.reason)
        for output, root in zip(graph.outputs, roots, strict=True)
    )
    return evolve(graph, outputs=tuple(outputs))
