"""Statistics over all tensors of a merge: what `Method.survey` is composed of.

A tensor that several outputs are made of counts once. Where some tensors are computed in float64,
magnitudes of all are compared in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import Node, make_node
from graphmerge.methods.task_vectors import density_of, task_vectors
from graphmerge.ops.arithmetic import Scale, in_dtype
from graphmerge.ops.rescale import AbsoluteSum, Ratio
from graphmerge.ops.sparsify import DIGIT_BITS, KeepLargest
from graphmerge.ops.spherical import Gram
from graphmerge.ops.whole_model import (
    DigitHistogram,
    DigitsOverTensors,
    KeepTies,
    Pick,
    SumOverTensors,
)
from graphmerge.recipe.signature import ParameterSpec
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from graphmerge.graph import Alike
    from graphmerge.methods.base import MergeInputs, Survey
    from graphmerge.recipe.values import Scalar

SCOPE = ParameterSpec(
    "scope",
    str,
    "tensor",
    per_model=False,
    doc="Take thresholds and the sign of draws of each tensor, or of the whole model as the paper.",
    choices=("tensor", "model"),
)


def distinct(merges: Iterable[MergeInputs]) -> tuple[MergeInputs, ...]:
    """The merges of different tensors, the first of each.

    Raises:
        RecipeError: the models are not the same everywhere, as slices may have it.
    """
    found = {merge.nodes: merge for merge in reversed(list(merges))}
    kept = tuple(reversed(found.values()))
    labels = {tuple(model.label for model in merge.fine_tunes) for merge in kept}
    if len(labels) > 1:
        shown = "; ".join(", ".join(names) for names in sorted(labels))
        what = "a statistic of the whole model needs the same models for all tensors"
        raise RecipeError(Problem(what, got=shown, hint="use models: instead of slices:"))
    return kept


def squared_norms(
    merges: Iterable[MergeInputs], vectors: Callable[[MergeInputs], Iterable[Node]]
) -> Node:
    """Squared norms over all tensors, of each of the vectors that a tensor has a part of."""
    kept = distinct(merges)
    squares = [[make_node(Gram(), x) for x in vectors(merge)] for merge in kept]
    return sums_over_tensors(kept, squares)


def one_value(
    merges: Sequence[MergeInputs], name: str, look_up: Callable[[MergeInputs], Scalar]
) -> Scalar:
    """A parameter that all tensors must share. Raises RecipeError where it differs."""
    found = {look_up(merge): merge for merge in merges}
    if len(found) > 1:
        shown = ", ".join(f"{value} for {merge.tensor}" for value, merge in found.items())
        raise RecipeError(
            Problem(
                f"{name} must be the same for all tensors", got=shown, hint="no filter, no gradient"
            )
        )
    return next(iter(found))


def scope_of(merges: Sequence[MergeInputs]) -> str:
    """The method's `scope`. Raises RecipeError where it differs between tensors."""
    return str(one_value(merges, "scope", lambda merge: merge.parameters["scope"]))


def densities_of(merges: Sequence[MergeInputs]) -> list[float]:
    """The density of every fine-tune. Raises RecipeError where it differs between tensors."""
    return [
        float(
            one_value(
                merges,
                f"density of {model.label}",
                lambda merge, index=index: density_of(merge, merge.fine_tunes[index]),  # type: ignore[misc]
            )
        )
        for index, model in enumerate(merges[0].fine_tunes)
    ]


def survey_thresholds(merges: Sequence[MergeInputs]) -> Survey:
    """Each model's threshold for its `density` of largest magnitudes over all tensors.

    That is the k-th largest magnitude, with k = max(1, int(density * entries)); every entry that is
    as large is kept, as in TIES-Merging, arXiv 2306.01708.
    """
    densities = densities_of(merges)
    size = entries_of(merges)
    limited = [i for i, density in enumerate(densities) if 0 < density < 1 and size]
    if not limited:
        return {}
    keep = tuple(max(1, int(densities[i] * size)) for i in limited)
    wide = widest(merges)
    deltas = [task_vectors(merge) for merge in merges]
    parts = [[in_dtype(wide, of_tensor[i]) for i in limited] for of_tensor in deltas]
    digits = digits_over_tensors(merges, parts, keep, wide)
    return {
        f"threshold {i}": (make_node(KeepTies(place), digits),) for place, i in enumerate(limited)
    }


def entries_of(merges: Iterable[MergeInputs]) -> int:
    """Entries of all tensors together."""
    return sum(merge.count * merge.models[0].node.spec.numel for merge in merges)


def digits_over_tensors(
    merges: Sequence[MergeInputs],
    parts: Sequence[Sequence[Node]],
    keep: tuple[int, ...],
    dtype: DType,
) -> Node:
    """The k-th largest magnitudes over all tensors: a k, and a part of each tensor, for each.

    Where several k are of the same parts, their first digit is counted once.
    """
    alike = _kinds(merges)
    statistic: tuple[Node, ...] = ()
    for digit in range(len(DIGIT_BITS[dtype])):
        histograms = [
            make_node(DigitHistogram(digit, place if digit else 0), x, *statistic)
            for part in parts
            for place, x in enumerate(part)
        ]
        statistic = (make_node(DigitsOverTensors(keep, digit, alike), *histograms, *statistic),)
    return statistic[0]


def trimmed(merge: MergeInputs, survey: Survey) -> list[Node]:
    """The task vectors, trimmed by the thresholds of `survey_thresholds`."""
    densities = (density_of(merge, model) for model in merge.fine_tunes)
    return [
        _trimmed(delta, density, survey.get(f"threshold {index}"))
        for index, (delta, density) in enumerate(zip(task_vectors(merge), densities, strict=True))
    ]


def _trimmed(delta: Node, density: float, threshold: tuple[Node, ...] | None) -> Node:
    if density == 0:
        return make_node(Scale(0.0), delta)
    if threshold is None:
        return delta
    dtype = DType.F64 if _is_wide(threshold[0]) else delta.spec.dtype
    kept = make_node(KeepLargest(density), in_dtype(dtype, delta), *threshold)
    return in_dtype(delta.spec.dtype, kept)


def sums_over_tensors(merges: Iterable[MergeInputs], parts: Sequence[Sequence[Node]]) -> Node:
    """Sums of numbers over tensors: as many as each tensor has."""
    op = SumOverTensors(len(parts[0]), _kinds(merges))
    return make_node(op, *(node for part in parts for node in part))


def _kinds(merges: Iterable[MergeInputs]) -> tuple[Alike, ...]:
    """The kinds of tensors that merges stand for; none where each is a tensor of its own."""
    return tuple(merge.alike for merge in merges if merge.alike)


def norm_ratios(
    merges: Iterable[MergeInputs], pairs: Sequence[Sequence[tuple[Node, Node]]]
) -> tuple[Node, ...]:
    """|x|_1 / |y|_1 over all tensors, for the pairs (x, y) of each; 1 where y is zero."""
    sums = sums_over_tensors(
        merges, [[make_node(AbsoluteSum(), x) for pair in part for x in pair] for part in pairs]
    )
    return tuple(
        make_node(Ratio(), make_node(Pick(2 * place), sums), make_node(Pick(2 * place + 1), sums))
        for place in range(len(pairs[0]))
    )


def widest(merges: Sequence[MergeInputs]) -> DType:
    """The dtype in which magnitudes of all tensors are compared."""
    dtypes = {merge.models[0].node.spec.dtype for merge in merges}
    return DType.F64 if DType.F64 in dtypes else DType.F32


def _is_wide(threshold: Node) -> bool:
    """Whether a threshold is of float64: it has four digits then."""
    (digits,) = threshold.inputs
    assert isinstance(digits.op, DigitsOverTensors)
    return digits.op.digit == len(DIGIT_BITS[DType.F64]) - 1
