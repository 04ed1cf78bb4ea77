"""PCB-Merging (arXiv 2410.02396): parameters compete by strength and agreement.

A score below zero, of an entry that is against the sum of all, counts as zero: such an entry never
stays, however large the share that is to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import make_node
from graphmerge.methods.base import BaseRule, Group, MergeInputs, Method
from graphmerge.methods.parameters import own
from graphmerge.methods.ranges import fraction
from graphmerge.methods.task_vectors import add_to_base, task_vectors
from graphmerge.methods.whole_model import (
    digits_over_tensors,
    distinct,
    entries_of,
    one_value,
    widest,
)
from graphmerge.ops.arithmetic import in_dtype
from graphmerge.ops.competition import CompetitionMean, CompetitionScore, Magnitudes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.graph import Node
    from graphmerge.methods.base import Survey
    from graphmerge.spec import DType

CLAMPED = 1e-4
"""Share of the magnitudes at either end that count as the next ones."""


def survey(merges: tuple[MergeInputs, ...]) -> Survey:
    """Of each whole task vector the bounds of its magnitudes, and then those of its scores."""
    ratio = float(one_value(merges, "ratio", lambda merge: fraction(merge, "ratio")))
    kept = distinct(merges)
    size = entries_of(kept)
    if not size:
        return {}
    wide = widest(kept)
    deltas = [task_vectors(merge) for merge in kept]
    clamped = int(CLAMPED * size)
    bounds = _magnitudes(kept, deltas, (size - clamped, 1 + clamped), wide)
    scores = [_scores(parts, bounds) for parts in deltas]
    limits = _magnitudes(kept, scores, (max(1, int(ratio * size)), 1), wide)
    return {"bounds": (bounds,), "limits": (limits,)}


def build(merge: MergeInputs) -> Node:
    """B + lambda * the mean of the task vectors by how far their scores are above the threshold."""
    deltas = task_vectors(merge)
    if not merge.survey:  # there is no entry in any tensor
        return add_to_base(merge, deltas[0])
    scores, limits = _scores(deltas, *merge.survey["bounds"]), merge.survey["limits"]
    return add_to_base(merge, make_node(CompetitionMean(), *deltas, *scores, *limits))


def _scores(deltas: Sequence[Node], bounds: Node) -> list[Node]:
    return [
        make_node(CompetitionScore(place), own, *deltas, bounds) for place, own in enumerate(deltas)
    ]


def _magnitudes(
    merges: Sequence[MergeInputs],
    parts: Sequence[Sequence[Node]],
    keep: tuple[int, ...],
    wide: DType,
) -> Node:
    """The k-th largest magnitudes of each model over all tensors, for every k of `keep`."""
    repeated = [[in_dtype(wide, x) for x in part for _ in keep] for part in parts]
    digits = digits_over_tensors(merges, repeated, keep * len(parts[0]), wide)
    return make_node(Magnitudes(wide), digits)


METHOD = Method(
    name="pcb",
    summary="Weighs the entries of task vectors by strength and agreement; the weak drop out.",
    formula="B + lambda sum_i c_i d_i / sum_i c_i, c_i = s_i above its threshold from 0 to 1, "
    "s_i = exp(n |d_i|^2) tanh(d_i sum_j d_j), |d_i| from 0 to 1",
    use_when="task vectors conflict, and few entries of each are to stay",
    paper="PCB-Merging, arXiv 2410.02396",
    build=build,
    survey=survey,
    base=BaseRule.REQUIRED,
    group=Group.TASK_VECTORS,
    parameters=(
        own("ratio", 0.1, "Share of the entries of a whole task vector that stay, 0 to 1."),
        own("lambda", 1.2, "Scale of the merged task vector before it is added to the base."),
    ),
    least_models=2,
)
