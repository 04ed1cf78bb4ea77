"""Statistics of the tensors that are merged, from checkpoints beside the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import CheckpointError, Problem
from graphmerge.methods.base import StatisticsRule
from graphmerge.ops import GatherRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from graphmerge.build.matching import Match
    from graphmerge.build.models import Model, ModelTensor


def statistics_of(
    match: Match, rule: StatisticsRule, tensors: Sequence[ModelTensor]
) -> tuple[ModelTensor | None, ...]:
    """What a rule wants for each tensor of a match; None throughout where it allows to have none.

    Raises:
        CheckpointError: some are missing, of another shape, no floats, or of other rows.
    """
    found = tuple(
        _find(model, given, name)
        for model, given, name in zip(
            match.place.models, match.place.statistics, match.names, strict=True
        )
    )
    if rule is StatisticsRule.GRAMS and not any(found):
        return found
    problems = [
        problem
        for given, name, tensor, statistics in zip(
            match.place.statistics, match.names, tensors, found, strict=True
        )
        if given is not None
        for problem in _problems(rule, given.label, name, tensor, statistics)
    ]
    if problems:
        raise CheckpointError(*problems)
    return found


def _find(model: Model, given: Model | None, name: str) -> ModelTensor | None:
    """The statistics of a tensor, or of the one that it is tied to."""
    if given is None:
        return None
    return given.find(name) or given.tensors.get(model.tied.get(name, ""))


def _problems(
    rule: StatisticsRule,
    label: str,
    name: str,
    tensor: ModelTensor,
    statistics: ModelTensor | None,
) -> Iterator[Problem]:
    """What is wrong; `what` has file and tensor, as problems that say the same are told once."""
    if statistics is None:
        hint = (
            "other models have one of it: give all of them one, or none"
            if rule is StatisticsRule.GRAMS
            else "take statistics of every tensor of the model"
        )
        yield Problem(f"{label} has no statistics of {name}", wanted=rule.value, hint=hint)
        return
    wanted = rule.shape_for(tensor.shape)
    if statistics.shape != wanted:
        what = f"{label}: statistics of {name} are of another shape"
        shape = str(list(wanted)) if wanted else "none, as it is no weight of a linear layer"
        hint = f"{name} has the shape {list(tensor.shape)}; {rule.value} is wanted"
        yield Problem(what, got=str(list(statistics.shape)), wanted=shape, hint=hint)
    if not statistics.stored.is_mergeable_float:
        what, floats = f"{label}: statistics of {name} are no floats", "F16, BF16, F32 or F64"
        yield Problem(what, got=statistics.stored.value, wanted=floats)
    if rule is StatisticsRule.ENTRIES and isinstance(tensor.pattern.root.op, GatherRows):
        what = f"{label}: the rows of {name} are put in another order, statistics are not"
        yield Problem(what, hint="merge models of one vocabulary, without tokenizer:")


def require_some_used(given: Iterable[tuple[Model, set[str]]]) -> None:
    """Check that every checkpoint of statistics has some for a tensor that is merged.

    Args:
        given: The checkpoints, each with the names that the merge would use.

    Raises:
        CheckpointError: one has none: its names must be of another kind.
    """
    problems = []
    for model, names in given:
        if names.isdisjoint(model.tensors):
            what = f"{model.label} has statistics of no tensor that is merged"
            got, wanted = (next(iter(sorted(some)), "nothing") for some in (model.tensors, names))
            problems.append(Problem(what, got=f"names such as {got}", wanted=f"such as {wanted}"))
    if problems:
        raise CheckpointError(*problems)
