"""What a recipe's `tokenizer:` section comes to, for the models that it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.errors import CheckpointError, InputError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.ops.rows import ZERO_ROW
from graphmerge.recipe.values import TokenKind
from graphmerge.vocabulary.combining import OutputVocabulary, combine
from graphmerge.vocabulary.file_names import SENTENCEPIECE, TOKENIZER
from graphmerge.vocabulary.reading import read_tokenizer
from graphmerge.vocabulary.rows import ConfiguredRow, Rows, rows_of
from graphmerge.vocabulary.sentencepiece_json import obstacles
from graphmerge.vocabulary.slow_tokenizer import CONVERT_FIRST
from graphmerge.vocabulary.tokenizer import NO_ID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from graphmerge.checkpoint.values import Checkpoint
    from graphmerge.recipe.values import ModelReference, TokenizerSettings, TokenSource
    from graphmerge.vocabulary.tokenizer import Tokenizer


@frozen(eq=False)
class Combined:
    """The vocabulary of the output, and the rows of it that every model has."""

    vocabulary: OutputVocabulary
    """The vocabulary."""
    donor: ModelReference
    """The model whose ids and files it has."""
    models: tuple[ModelReference, ...]
    """The models, those that are merged first; the tables that rows come from."""
    merged: int
    """How many are merged; the others only give rows."""
    ids: tuple[NDArray[np.int64], ...]
    """For each of them the row of every token of the output, or NO_ID."""
    base: int | None
    """Which is the base."""
    configured: tuple[ConfiguredRow, ...]
    """What the recipe says about single tokens."""

    def rows(self, model: int, counts: Sequence[int]) -> Rows:
        """The rows of a model's tensor, where the models' tensors have so many rows."""
        stored = list(zip(self.ids, counts, strict=True))[: self.merged]
        ids = [np.where(found < count, found, NO_ID) for found, count in stored]
        return rows_of(model, ids, self.base, self.configured, self.vocabulary.padding)


def combine_models(
    settings: TokenizerSettings,
    merged: Mapping[ModelReference, Checkpoint],
    others: Mapping[ModelReference, Checkpoint],
    base: ModelReference | None,
) -> Combined:
    """Combine the vocabularies of models.

    Args:
        settings: The section.
        merged: The models that are merged, the donor of the config first.
        others: Further models that the section names.
        base: The base model.

    Raises:
        InputError: everything that is wrong with the tokenizers and the section.
        MachineError: a file cannot be read.
    """
    tokenizers = _read_all({**merged, **others})
    first = next(iter(merged))
    donor = (base or first) if isinstance(settings.source, str) else settings.source
    if settings.source == "base" and base is None:
        hint = "add base_model:"
        raise CheckpointError(Problem("there is no base model", "$.tokenizer.source", hint=hint))
    union = [tokenizers[ref] for ref in merged if ref != donor and settings.source == "union"]
    vocabulary = combine(
        tokenizers[donor], union, tuple(settings.tokens), settings.pad_to_multiple_of
    )
    _refuse_extending(vocabulary)
    models = tuple(tokenizers)
    known = {id(found): vocabulary.ids_in(found) for found in tokenizers.values()}
    return Combined(
        vocabulary,
        donor,
        models,
        len(merged),
        tuple(known[id(found)] for found in tokenizers.values()),
        models.index(base) if base in merged else None,
        _configured(settings, vocabulary, tokenizers),
    )


def _refuse_extending(vocabulary: OutputVocabulary) -> None:
    """Refuse to add tokens to a sentencepiece model that no tokenizer.json can stand for."""
    donor = vocabulary.donor
    if not vocabulary.new or (donor.folder / TOKENIZER).exists():
        return
    reasons = obstacles(donor.slow) if donor.slow else []
    if not donor.slow and any((donor.folder / name).exists() for name in SENTENCEPIECE):
        reasons = ["its ids are in another file"]
    if reasons:
        what = (
            "no tokens can be added: no tokenizer.json splits all texts as this sentencepiece model"
        )
        hint = (
            "source: base, or a model, without new tokens keeps a vocabulary as it is; or overlook "
            f"the difference and {CONVERT_FIRST}"
        )
        raise CheckpointError(Problem(what, str(donor.folder), "; ".join(reasons), hint=hint))


def _read_all(models: Mapping[ModelReference, Checkpoint]) -> dict[ModelReference, Tokenizer]:
    tokenizers: dict[ModelReference, Tokenizer] = {}
    problems: list[Problem] = []
    for reference, checkpoint in models.items():
        try:
            tokenizers[reference] = read_tokenizer(checkpoint)
        except InputError as error:  # noqa: PERF203 - problems of all models are told at once
            problems += error.problems
    if problems:
        raise CheckpointError(*problems)
    return tokenizers


def _configured(
    settings: TokenizerSettings,
    vocabulary: OutputVocabulary,
    tokenizers: Mapping[ModelReference, Tokenizer],
) -> tuple[ConfiguredRow, ...]:
    models = list(tokenizers)
    rows: list[ConfiguredRow] = []
    problems: list[Problem] = []
    for token, given in settings.tokens.items():
        place = vocabulary.donor.tokens.get(token, vocabulary.new.get(token, NO_ID))
        if given.kind is TokenKind.ZERO or given.model is None:
            rows.append(ConfiguredRow(place, ZERO_ROW, 0, given.force))
            continue
        found = _row_in(tokenizers[given.model], token, given)
        if found is None:
            what = f"{given.model} has no token {given.token or token!r}"
            problems.append(Problem(what, f"$.tokenizer.tokens.{token}"))
        else:
            rows.append(ConfiguredRow(place, models.index(given.model), found, given.force))
    if problems:
        raise CheckpointError(*problems)
    return tuple(rows)


def _row_in(tokenizer: Tokenizer, token: str, given: TokenSource) -> int | None:
    """The row of a model that a configured source means."""
    if given.token_id is not None:
        return given.token_id
    return tokenizer.tokens.get(given.token or token)
