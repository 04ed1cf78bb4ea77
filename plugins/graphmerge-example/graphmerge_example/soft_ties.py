"""A method composed of nodes: tiled, compiled and budgeted like a built-in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import graphmerge as gm
from graphmerge import compose

if TYPE_CHECKING:
    from graphmerge.graph import Node


@gm.merge_graph(
    "example_soft_ties",
    base="required",
    use_when="sign consensus alone throws away too much",
    paper="TIES-Merging, arXiv 2306.01708",
)
def example_soft_ties(
    nodes: list[Node],
    *,
    weight: list[float],
    density: list[float],
    softness: float = 0.5,
    lambda_: float = 1.0,
) -> Node:
    """TIES-Merging, blended with plain task arithmetic by `softness`."""
    base, *tuned = nodes
    deltas = [compose.task_vector(node, base) for node in tuned]
    sparse = [compose.keep_largest(d, k) for d, k in zip(deltas, density, strict=True)]
    elected = compose.sign_consensus(sparse, weight)
    added = compose.weighted_sum(deltas, weight)
    blend = compose.weighted_sum([elected, added], [1 - softness, softness])
    return compose.add_delta(base, blend, lambda_)
