"""Give all models of a merge the same rows of the vocabulary, before its method sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from graphmerge.build.models import Model, ModelTensor, donor_reference
from graphmerge.checkpoint.vocabulary import find_embeddings
from graphmerge.errors import CheckpointError, Problem
from graphmerge.graph import Pattern, make_node
from graphmerge.ops import GatherRows, RowMap
from graphmerge.vocabulary.reading import (
    has_vocabulary,
    read_tokenizer,
    reading_bytes,
    vocabulary_digest,
)
from graphmerge.vocabulary.rows import cropped, extended
from graphmerge.vocabulary.settings import combine_models, extra_models
from graphmerge.vocabulary.tokenizer import share_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from graphmerge.build.matching import Models
    from graphmerge.checkpoint.values import Checkpoint
    from graphmerge.graph import Node
    from graphmerge.recipe.values import ModelReference, Recipe, TokenizerSettings
    from graphmerge.vocabulary.combining import OutputVocabulary
    from graphmerge.vocabulary.rows import RowCounts
    from graphmerge.vocabulary.settings import Combined


@frozen(eq=False)
class TokenizerOrigin:
    """Where the tokenizer of an output is from, if not the donor of its config."""

    checkpoint: Checkpoint
    """Whose tokenizer files it has."""
    vocabulary: OutputVocabulary | None
    """Tokens that are added to them, if there are any."""


@frozen(eq=False)
class Aligned:
    """Models whose vocabularies fit each other."""

    models: Models
    """The models; the ones whose rows had to change read them by gather-rows nodes."""
    tokenizer: TokenizerOrigin | None
    """Where the output's tokenizer is from; None if that of the donor serves."""
    notes: tuple[str, ...]
    """What was done, for readers of the plan."""
    reading_bytes: int
    """Memory that reading the tokenizers took."""


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
    donor = donor_reference(recipe)
    ordered = {donor: inputs[donor], **inputs}
    if recipe.tokenizer is not None:
        return _by_tokens(recipe, recipe.tokenizer, ordered, known)
    return _by_rows(recipe, inputs, {ref: ordered[ref] for ref in _at_the_ends(recipe, ordered)})


def _by_tokens(
    recipe: Recipe, settings: TokenizerSettings, inputs: Models, known: Models
) -> Aligned:
    others = {ref: known[ref] for ref in extra_models(settings) if ref not in inputs}
    if _is_no_op(settings, [*inputs.values(), *others.values()]):
        return Aligned(inputs, None, (), 0)
    derived = [model.label for model in inputs.values() if not model.is_stored]
    if derived:
        hint = "give the section to the entries that read the checkpoints"
        what = "the vocabularies of results cannot be combined"
        raise CheckpointError(Problem(what, "$.tokenizer", ", ".join(derived), hint=hint))
    combined = combine_models(
        settings,
        {ref: model.checkpoint for ref, model in inputs.items()},
        {ref: model.checkpoint for ref, model in others.items()},
        recipe.base_model,
    )
    every = {**inputs, **others}
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
        {ref: models[ref] for ref in inputs},
        origin,
        (_summary(combined), *gathering.notes),
        reading_bytes((model.checkpoint for model in tables), is_extended=bool(vocabulary.new)),
    )


def _is_no_op(settings: TokenizerSettings, models: Sequence[Model]) -> bool:
    """Whether all models have the same vocabulary and rows, and the recipe wants nothing else."""
    if settings.tokens or settings.pad_to_multiple_of:
        return False
    if len({frozenset(_row_counts(model).values()) for model in models}) > 1:
        return False
    return len({vocabulary_digest(model.checkpoint) for model in models}) == 1


def _row_counts(model: Model) -> dict[str, int]:
    """Rows of every vocabulary tensor of a model."""
    names = find_embeddings(model.checkpoint)
    return {name: model.tensors[name].shape[0] for name in names if name in model.tensors}


class _Gathering:
    """Remaps the vocabulary tensors of models; one map serves all tensors of as many rows."""

    def __init__(self, combined: Combined, tables: tuple[Model, ...]) -> None:
        self.notes: list[str] = []
        self.problems: list[Problem] = []
        self._combined = combined
        self._tables = tables
        self._known: dict[tuple[int, tuple[int, ...]], tuple[RowMap, tuple[int, ...]] | None] = {}

    def remapped(self, number: int) -> Model:
        """A model with the rows of the output."""
        model = self._tables[number]
        changed = {name: self._tensor(number, name) for name in _row_counts(model)}
        made = {name: tensor for name, tensor in changed.items() if tensor is not None}
        return evolve(model, tensors={**model.tensors, **made}) if made else model

    def _tensor(self, number: int, name: str) -> ModelTensor | None:
        found = [table.find(name) for table in self._tables]
        counts = tuple(tensor.shape[0] if tensor else 0 for tensor in found)
        place = (number, counts)
        if place not in self._known:
            self._known[place] = self._rows(number, counts)
        known, own = self._known[place], found[number]
        if known is None or own is None:
            return None
        rows, used = known
        nodes = [tensor.value.node for index in used if (tensor := found[index])]
        return _gathered(rows, nodes, own)

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


def _gathered(rows: RowMap, nodes: Sequence[Node], own: ModelTensor) -> ModelTensor:
    what = f"{rows.rows:,} rows of {len(nodes)} model{'s' if len(nodes) > 1 else ''}"
    return ModelTensor(Pattern(make_node(GatherRows(rows, what), *nodes)), (), own.stored)


def _summary(combined: Combined) -> str:
    vocabulary = combined.vocabulary
    parts = [f"{vocabulary.donor.size:,} rows of {combined.donor}"]
    if vocabulary.new:
        parts.append(f"{len(vocabulary.new):,} tokens added")
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


def _at_the_ends(recipe: Recipe, inputs: Models) -> tuple[ModelReference, ...]:
    """The models that give tensors outside the layers, the donor of the config first."""
    found: dict[ModelReference, None] = {}
    for module in recipe.modules:
        if module.is_whole_model:
            found.update(dict.fromkeys(inputs))
        for part in (module.slices[0], module.slices[-1]):
            found.update((source.model, None) for source in part.sources)
    return tuple(ref for ref in inputs if ref in found)


def _by_rows(recipe: Recipe, inputs: Models, ends: Models) -> Aligned:
    """Without a `tokenizer:` section rows stand for themselves; unequal numbers are made equal."""
    counts = {ref: _row_counts(model) for ref, model in ends.items()}
    most = {ref: max(rows.values(), default=0) for ref, rows in counts.items()}
    sizes = {size for size in most.values() if size}
    if len(sizes) < 2:
        return Aligned(inputs, None, (), 0)
    policy, least = recipe.embeddings, min(sizes)
    target = max(sizes) if policy == "extend" else least
    if policy == "error" or (policy == "auto" and not _is_proven(ends.values(), least)):
        raise CheckpointError(_unequal({ends[ref].label: size for ref, size in most.items()}))
    changed = {ref: _resized(ends[ref], counts[ref], target) for ref in ends}
    fitting = [model.checkpoint for model in ends.values() if _fits(model.checkpoint, target)]
    origin = TokenizerOrigin(fitting[0], None) if fitting else None
    done = "extended" if policy == "extend" else "cropped"
    why = ", as the tokenizer files say that common ids mean the same" if policy == "auto" else ""
    note = f"embeddings: {done} to {target:,} rows{why}"
    tokens_lost = "" if fitting else "; no model's tokenizer has so few tokens"
    reading = reading_bytes((model.checkpoint for model in ends.values()), is_extended=False)
    return Aligned({**inputs, **changed}, origin, (note + tokens_lost,), reading)


def _is_proven(models: Iterable[Model], rows: int) -> bool:
    """Whether tokenizer files say that all ids below `rows` mean the same in all models."""
    checkpoints = [model.checkpoint for model in models]
    if not all(map(has_vocabulary, checkpoints)):
        return False
    return share_ids(map(read_tokenizer, checkpoints), rows)


def _fits(checkpoint: Checkpoint, rows: int) -> bool:
    return has_vocabulary(checkpoint) and read_tokenizer(checkpoint).size <= rows


def _resized(model: Model, counts: dict[str, int], rows: int) -> Model:
    tensors = dict(model.tensors)
    for name, count in counts.items():
        if count != rows:
            made = cropped(rows) if count > rows else extended(count, rows)
            tensors[name] = _gathered(made, [tensors[name].value.node], tensors[name])
    return evolve(model, tensors=tensors)


def _unequal(sizes: dict[str, int]) -> Problem:
    got = ", ".join(f"{label} {size:,}" for label, size in sizes.items())
    hint = (
        "add tokenizer: {source: union} to merge token by token, embeddings: crop to keep the "
        "common rows, or embeddings: extend to fill the missing ones"
    )
    what = "the vocabularies differ in size, and no tokenizer files prove that ids agree"
    return Problem(what, "$.embeddings", got, "one number of rows", hint)
