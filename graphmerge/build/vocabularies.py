"""Give all models of a merge the same rows of the vocabulary, before its method sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve

from graphmerge.build.alignment import (
    Aligned,
    TokenizerOrigin,
    digest_of,
    gathered,
    origin_of,
    refuse_rows_for_images,
    row_counts,
)
from graphmerge.build.resizing import align_by_rows
from graphmerge.checkpoint.vocabulary import vocabulary_rows
from graphmerge.errors import CheckpointError, Problem
from graphmerge.vocabulary.reading import reading_bytes
from graphmerge.vocabulary.settings import combine_models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.build.matching import Models
    from graphmerge.build.models import Model, ModelTensor
    from graphmerge.ops.rows import RowMap
    from graphmerge.recipe.values import Recipe, TokenizerSettings
    from graphmerge.vocabulary.rows import RowCounts
    from graphmerge.vocabulary.settings import Combined


def align(recipe: Recipe, inputs: Models, known: Models) -> Aligned:
    """Give the inputs of a recipe the same rows, as it says.

    Args:
        recipe: The recipe.
        inputs: Its models.
        known: All models, among them those that only its `tokenizer:` section names.

    Raises:
        InputError: everything that is wrong with the vocabularies.
        MachineError: a file cannot be read.
    """
    if not inputs:
        return Aligned(inputs, None)
    donor = recipe.donor
    ordered = {donor: inputs[donor], **inputs}
    if recipe.tokenizer is not None:
        return _by_tokens(recipe, recipe.tokenizer, ordered, known)
    return align_by_rows(recipe, ordered)


def _by_tokens(
    recipe: Recipe, settings: TokenizerSettings, inputs: Models, known: Models
) -> Aligned:
    others = {ref: known[ref] for ref in settings.models() if ref not in inputs}
    if _is_no_op(settings, [*inputs.values(), *others.values()]):
        return Aligned(inputs, _unchanged(settings, inputs, known))
    every = {**inputs, **others}
    derived = [model.label for model in every.values() if not model.is_stored]
    if derived:
        hint = "give the section to the entries that read the checkpoints"
        what = "the vocabularies of results cannot be combined"
        raise CheckpointError(Problem(what, "$.tokenizer", ", ".join(derived), hint=hint))
    refuse_rows_for_images(inputs.values())
    combined = combine_models(
        settings,
        {ref: model.checkpoint for ref, model in inputs.items()},
        {ref: model.checkpoint for ref, model in others.items()},
        recipe.base_model,
    )
    tables = tuple(every[ref] for ref in combined.models)
    gathering = _Gathering(combined, tables)
    models = {ref: gathering.remapped(number) for number, ref in enumerate(inputs)}
    if gathering.problems:
        raise CheckpointError(*dict.fromkeys(gathering.problems))
    vocabulary = combined.vocabulary
    origin = TokenizerOrigin(
        every[combined.donor].checkpoint, vocabulary if vocabulary.new else None
    )
    return Aligned(
        models,
        origin,
        (_summary(combined), *gathering.notes),
        reading_bytes((model.checkpoint for model in tables), growth=vocabulary.growth),
    )


def _unchanged(
    settings: TokenizerSettings, inputs: Models, known: Models
) -> TokenizerOrigin | None:
    """Where the tokenizer is from if the rows stay: settings and templates still are somebody's."""
    donor = next(iter(inputs.values()))
    if isinstance(settings.source, str):
        return donor.tokenizer
    return origin_of(known[settings.source])


def _is_no_op(settings: TokenizerSettings, models: Sequence[Model]) -> bool:
    """Whether all models have the same vocabulary and rows, and the recipe wants nothing else."""
    if settings.tokens or settings.pad_to_multiple_of:
        return False
    if len({frozenset(row_counts(model).values()) for model in models}) > 1:
        return False
    return len({digest_of(model) for model in models}) == 1


class _Gathering:
    """Remaps the vocabulary tensors of models; one map serves all tensors of as many rows."""

    def __init__(self, combined: Combined, tables: tuple[Model, ...]) -> None:
        self.notes: list[str] = []
        self.problems: list[Problem] = []
        self._combined = combined
        self._tables = tables
        self._merged = tables[: combined.merged]
        self._known: dict[tuple[int, tuple[int, ...]], tuple[RowMap, tuple[int, ...]] | None] = {}

    def remapped(self, number: int) -> Model:
        """A model with the rows of the output.

        A head that is tied becomes one of its own where another model has one: tokens that the
        model lacks are rows of embeddings in the one and of heads in the other.
        """
        model = self._tables[number]
        names = (*row_counts(model), *model.untied_by(self._merged))
        changed = {name: self._tensor(number, name) for name in names}
        made = {name: tensor for name, tensor in changed.items() if tensor is not None}
        if not made:
            return model
        return evolve(model, tensors={**model.tensors, **made}, tied=model.still_tied(made))

    def _tensor(self, number: int, name: str) -> ModelTensor | None:
        found = [table.find(name) for table in self._tables]
        counts = tuple(vocabulary_rows(name, tensor.shape) if tensor else 0 for tensor in found)
        place = (number, counts)
        if place not in self._known:
            self._known[place] = self._rows(number, counts)
        known, own = self._known[place], found[number]
        if known is None or own is None:
            return None
        rows, used = known
        nodes = [tensor.value.node for index in used if (tensor := found[index])]
        return gathered(name, rows, nodes, own)

    def _rows(self, number: int, counts: tuple[int, ...]) -> tuple[RowMap, tuple[int, ...]] | None:
        """The map over the tables that it needs, and which these are; None if nothing changes."""
        self._check(counts)
        rows = self._combined.rows(number, counts)
        self.notes.append(_told(self._tables[number].label, rows.counts, rows.map.padding))
        if rows.is_unchanged(number, counts[number]):
            return None
        sums = rows.map.combinations
        used = np.unique(np.concatenate((rows.map.source, sums.source, [number])))
        used = used[used >= 0]
        numbers = np.full(len(counts) + 2, 0, np.int32)
        numbers[used], numbers[-1], numbers[-2] = np.arange(len(used)), -1, -2
        compact = evolve(
            rows.map,
            source=numbers[rows.map.source],
            combinations=evolve(sums, source=numbers[sums.source]),
        )
        return compact, tuple(used.tolist())

    def _check(self, counts: Sequence[int]) -> None:
        for one in self._combined.configured:
            if one.source >= 0 and one.source_row >= counts[one.source]:
                what = f"{self._tables[one.source].label} has no row {one.source_row}"
                got = f"{counts[one.source]} rows"
                self.problems.append(Problem(what, "$.tokenizer.tokens", got))


def _summary(combined: Combined) -> str:
    vocabulary = combined.vocabulary
    parts = [f"{vocabulary.donor.size:,} rows of {combined.donor}"]
    if vocabulary.new:
        added = len(vocabulary.new)
        parts.append(f"{added:,} {'tokens' if added > 1 else 'token'} added")
    if vocabulary.padding:
        parts.append(f"{vocabulary.padding:,} rows of padding")
    return f"vocabulary: {vocabulary.rows:,} rows: {', '.join(parts)}"


def _told(label: str, counts: RowCounts, padding: int) -> str:
    parts = {
        "its own": counts.own,
        "as the recipe says": counts.configured,
        "taken from another model": counts.taken,
        "averaged": counts.averaged,
        "zero": counts.zero,
        "padding": padding,
    }
    shown = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
    return f"vocabulary: rows of {label}: {shown}"
