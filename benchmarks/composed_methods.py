"""Merge methods for composed.py, written as a user would: graphmerge's own steps, by hand."""

from __future__ import annotations

import graphmerge as gm
from graphmerge import compose
from graphmerge.graph import Node  # noqa: TC001 - graphmerge reads the types of a method's parameters


@gm.merge_graph("my_linear")
def my_linear(nodes: list[Node], *, weight: list[float]) -> Node:
    """Weighted mean, written by hand."""
    return compose.weighted_sum(nodes, weight, normalize=True)


@gm.merge_graph("my_ties", base="required")
def my_ties(nodes: list[Node], *, weight: list[float], density: list[float]) -> Node:
    """TIES-Merging, written by hand."""
    base, *tuned = nodes
    deltas = [
        compose.keep_largest(compose.task_vector(node, base), kept)
        for node, kept in zip(tuned, density, strict=True)
    ]
    return compose.add_delta(base, compose.sign_consensus(deltas, weight))
