"""Statistics of models and of their tensors, from checkpoints beside the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import CheckpointError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.methods.base import StatisticsRule
from graphmerge.ops.arithmetic import in_dtype
from graphmerge.ops.rows import GatherRows
from graphmerge.ops.task_masks import MASK_DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from graphmerge.build.matching import Match
    from graphmerge.build.models import Model, ModelTensor
    from graphmerge.graph import Node
    from graphmerge.spec import DType


@frozen(eq=False)
class Statistics:
    """What is known of one model's tensor beside its values."""

    of_tensor: ModelTensor | None = None
    """Statistics of the tensor; None where it has none."""
    of_model: ModelTensor | None = None
    """Statistics of the whole model; None where a method wants none."""

    @property
    def tensors(self) -> tuple[ModelTensor, ...]:
        """All that there are."""
        return tuple(tensor for tensor in (self.of_tensor, self.of_model) if tensor is not None)

    def nodes(self, compute: DType) -> tuple[Node | None, Node | None]:
        """What gives their values; those of a tensor in the dtype of the arithmetic if floats."""
        own = None if self.of_tensor is None else self.of_tensor.value.node
        if own is not None and not own.spec.dtype.is_integer:
            own = in_dtype(compute, own)
        return own, None if self.of_model is None else self.of_model.value.node


def find_statistics(match: Match) -> tuple[ModelTensor | None, ...]:
    """What each model has of statistics of its tensor, before it is checked."""
    return tuple(
        [
            _find(model, given, name)
            for model, given, name in zip(
                match.place.models, match.place.statistics, match.names, strict=True
            )
        ]
    )


def statistics_of(
    match: Match, rule: StatisticsRule, tensors: Sequence[ModelTensor]
) -> tuple[Statistics, ...]:
    """What a rule wants for each tensor of a match; none throughout where it allows to have none.

    Raises:
        CheckpointError: some are missing, of another shape or dtype, or of other rows.
    """
    found = find_statistics(match)
    if rule is StatisticsRule.GRAMS and not any(found):
        return (Statistics(),) * len(tensors)
    problems = [
        problem
        for given, name, tensor, statistics in zip(
            match.place.statistics, match.names, tensors, found, strict=True
        )
        if given is not None
        for problem in _problems(rule, given.label, name, tensor, statistics)
    ]
    whole = [
        None if given is None else given.tensors.get(rule.of_model)
        for given in match.place.statistics
    ]
    problems += [
        Problem(f"{given.label} has no tensor {rule.of_model}", wanted=rule.value)
        for given, of_model in zip(match.place.statistics, whole, strict=True)
        if given is not None and rule.of_model and of_model is None
    ]
    if problems:
        raise CheckpointError(*problems)
    return tuple(map(Statistics, found, whole))


_MISSING = {
    StatisticsRule.ENTRIES: "take statistics of every tensor of the model",
    StatisticsRule.GRAMS: "other models have one of it: give all of them one, or none",
    StatisticsRule.MASKS: "they belong to the model that emr makes of the same models",
}
"""What to do about a tensor without statistics."""


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
        hint = _MISSING[rule]
        yield Problem(f"{label} has no statistics of {name}", wanted=rule.value, hint=hint)
        return
    wanted = rule.shape_for(tensor.shape)
    if statistics.shape != wanted:
        what = f"{label}: statistics of {name} are of another shape"
        shape = str(list(wanted)) if wanted else "none, as it is no weight of a linear layer"
        hint = f"{name} has the shape {list(tensor.shape)}; {rule.value} is wanted"
        yield Problem(what, got=str(list(statistics.shape)), wanted=shape, hint=hint)
    if rule is StatisticsRule.MASKS and statistics.stored not in MASK_DTYPES:
        what, masks = f"{label}: statistics of {name} are no masks", "U8, U16, U32 or U64"
        yield Problem(what, got=statistics.stored.value, wanted=masks)
    if rule is not StatisticsRule.MASKS and not statistics.stored.is_mergeable_float:
        what, floats = f"{label}: statistics of {name} are no floats", "F16, BF16, F32 or F64"
        yield Problem(what, got=statistics.stored.value, wanted=floats)
    if rule is not StatisticsRule.GRAMS and isinstance(tensor.pattern.root.op, GatherRows):
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
