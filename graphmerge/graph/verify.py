"""Checks that a graph makes sense, made once it is built."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.errors import GraphError, Problem
from graphmerge.graph.op import Space

if TYPE_CHECKING:
    from graphmerge.graph.graph import Graph


def verify_graph(graph: Graph) -> None:
    """Check that outputs are weights or records, and that each has a name of its own.

    Raises:
        GraphError: names every output that is wrong.
    """
    counts = Counter(output.name for output in graph.outputs)
    problems = [
        Problem(
            "two output tensors have the same name",
            f"tensor {name}",
            hint="stack fewer layers, or list the modules apart",
        )
        for name, count in counts.items()
        if count > 1
    ]
    problems += [
        Problem(
            "an output must be a weight",
            f"tensor {output.name}",
            f"{output.node!r}, a {output.value.space.value}",
            hint="add the delta to a base",
        )
        for output in graph.outputs
        if output.value.space not in (Space.WEIGHT, Space.RECORD)
    ]
    if problems:
        raise GraphError(*problems)
