"""Checks that a graph makes sense, made once it is built."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.errors import GraphError, Problem, some
from graphmerge.graph.op import Space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.graph.graph import Graph, Output


def verify_graph(graph: Graph) -> None:
    """Check that outputs are weights or records, and that each has a name of its own.

    Raises:
        GraphError: says what is wrong, and of which outputs.
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
    wrong = [
        output for output in graph.outputs if output.value.space not in (Space.WEIGHT, Space.RECORD)
    ]
    if wrong:
        problems.append(_no_weight(wrong))
    if problems:
        raise GraphError(*problems)


def _no_weight(outputs: Sequence[Output]) -> Problem:
    """One problem for all: an operation on a model is the same in each of its tensors."""
    first = outputs[0]
    return Problem(
        "an output must be a weight",
        some([f"tensor {output.name}" for output in outputs], most=1),
        f"{first.node!r}, a {first.value.space.value}",
        hint="add the delta to a base",
    )
