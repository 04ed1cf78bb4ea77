"""What giving models the same rows of the vocabulary comes to, and which tokenizer goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.build.models import ModelTensor
from graphmerge.checkpoint.vocabulary import find_embeddings, is_flat, vocabulary_rows
from graphmerge.errors import CheckpointError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Pattern, make_node
from graphmerge.ops.rows import GatherRows
from graphmerge.vocabulary.reading import has_vocabulary, read_tokenizer, vocabulary_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from graphmerge.build.matching import Models
    from graphmerge.build.models import Model
    from graphmerge.checkpoint.values import Checkpoint
    from graphmerge.graph import Node
    from graphmerge.ops.rows import RowMap
    from graphmerge.vocabulary.combining import OutputVocabulary
    from graphmerge.vocabulary.tokenizer import Tokenizer

_IMAGES_IN_ROWS = ("mllama",)
"""By the config's model_type."""


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
    notes: tuple[str, ...] = ()
    """What was done, for readers of the plan."""
    reading_bytes: int = 0
    """Memory that reading the tokenizers took."""


def row_counts(model: Model) -> dict[str, int]:
    """Rows of every vocabulary tensor of a model."""
    names = find_embeddings(model.checkpoint)
    return {
        name: vocabulary_rows(name, model.tensors[name].shape)
        for name in names
        if name in model.tensors
    }


def refuse_rows_for_images(models: Iterable[Model]) -> None:
    """Refuse models whose embedding has rows after those of the vocabulary, for images.

    Raises:
        CheckpointError: there are such models: where their rows change, these would be lost.
    """
    found = [model.label for model in models if model.config.get("model_type") in _IMAGES_IN_ROWS]
    if found:
        what = "the embedding has rows for images after those for tokens, and cannot change in size"
        hint = "merge models of this kind with one vocabulary, without a tokenizer section"
        raise CheckpointError(Problem(what, ", ".join(found), hint=hint))


def gathered(name: str, rows: RowMap, nodes: Sequence[Node], own: ModelTensor) -> ModelTensor:
    """The tensor whose rows a map takes from stored tensors; saved in the dtype that `own` has."""
    what = f"{rows.rows:,} rows of {len(nodes)} model{'s' if len(nodes) > 1 else ''}"
    op = GatherRows(rows, what, is_flat=is_flat(name))
    return ModelTensor(Pattern(make_node(op, *nodes)), (), own.stored)


def origin_of(model: Model) -> TokenizerOrigin:
    """Where the tokenizer of a model is from."""
    return model.tokenizer or TokenizerOrigin(model.checkpoint, None)


def has_tokenizer(model: Model) -> bool:
    """Whether there are files that say which tokens a model has."""
    return has_vocabulary(origin_of(model).checkpoint)


def tokenizer_of(model: Model) -> Tokenizer:
    """The tokenizer of a model, with the tokens that a merge has added to it.

    Raises:
        CheckpointError: it has none, or one in a format that is not read here, or a broken one.
        MachineError: a file cannot be read.
    """
    origin = origin_of(model)
    if origin.vocabulary is not None:
        return origin.vocabulary.as_tokenizer()
    return read_tokenizer(origin.checkpoint)


def digest_of(model: Model) -> str:
    """What models with the same vocabulary share, if their tokenizers are those of files."""
    origin = origin_of(model)
    added = "" if origin.vocabulary is None else repr(dict(origin.vocabulary.new))
    return vocabulary_digest(origin.checkpoint) + added
