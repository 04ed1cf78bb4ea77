"""Read the tokenizer of a model folder: tokenizer.json, or one of the older vocabulary files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xxhash

from graphmerge.checkpoint.access import machine_errors, read_bytes, read_json_object
from graphmerge.checkpoint.vocabulary import find_embeddings, vocabulary_rows
from graphmerge.errors import CheckpointError, Problem
from graphmerge.vocabulary.added_tokens import (
    checked_ids,
    optional_object,
    special_tokens,
    tokens_in_list,
    tokens_in_settings,
)
from graphmerge.vocabulary.file_names import (
    BINARY,
    READABLE,
    SENTENCEPIECE,
    SETTINGS,
    SPECIAL_TOKENS,
    TOKENIZER,
    VOCABULARY_JSON,
    VOCABULARY_TEXT,
)
from graphmerge.vocabulary.slow_families import family_of
from graphmerge.vocabulary.slow_tokenizer import (
    CONVERT_FIRST,
    read_slow_tokenizer,
    sentencepiece_file,
)
from graphmerge.vocabulary.tokenizer import Tokenizer
from graphmerge.vocabulary.tokenizer_json import read_tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from graphmerge.checkpoint.values import Checkpoint

_VOCABULARIES = (TOKENIZER, VOCABULARY_JSON, VOCABULARY_TEXT)
"""Files of which one is enough, the one that is read first."""
_OF_TEXT, _OF_PIECES = (14, 4, 11), (10, 9, 36)
"""Memory that a byte of a tokenizer's files takes while they are parsed, what stays of it until all
are read, and what writing takes for a vocabulary as large as the one that it extends.

Text was measured on BPE of 128,000 tokens and 256,000 merges, 7.6 MiB each: reading one took 91
MiB, each further one 18 more, writing the union of three that differ by a sixth 82 on top; for
three Unigram models of 250,000 pieces, 8.8 MB each, it is an eighth more for each byte.
Sentencepiece files of 128,000 pieces, 2.5 MiB each: 23 for the first, 19 for each further one, 91
to write one of them with three tokens more, 223 for the union of three with nothing in common.
"""
_OF_TOKEN = (200, 200, 300)
"""The same for a token, where that is more: a file may have 5 bytes for each. Measured on vocab.txt
and on compact Unigram and WordPiece models of 256,000 short tokens: three take 700 to 1,000 bytes a
token with their union; five models of 200,000 with nothing in common up to 2,500."""


def reading_bytes(checkpoints: Iterable[Checkpoint], *, growth: float) -> int:
    """Memory that reading the tokenizers of models takes, one after the other.

    Args:
        checkpoints: The models.
        growth: Tokens of the tokenizer that is written, as a multiple of those that it has before
            others are added; 0 if none is written anew.
    """
    taken = [_memory(checkpoint) for checkpoint in checkpoints]
    parsed, written = (max(each[column] for each in taken) for column in (0, 2))
    return parsed + sum(held for _, held, _ in taken) + round(written * growth)


def _memory(checkpoint: Checkpoint) -> tuple[int, int, int]:
    """Bytes for reading, holding and writing anew what is in a tokenizer's files."""
    files = _present(checkpoint)
    is_text = not files.keys().isdisjoint(_VOCABULARIES)
    sizes = {name: path.stat().st_size for name, path in files.items() if path.exists()}
    pieces = 0 if is_text else sum(sizes.get(name, 0) for name in BINARY)
    text = sum(size for name, size in sizes.items() if name not in BINARY)
    rows = max((_rows(checkpoint, name) for name in find_embeddings(checkpoint)), default=0)
    factors = zip(_OF_TEXT, _OF_PIECES, _OF_TOKEN, strict=True)
    parsed, held, written = (max(text * x + pieces * y, rows * z) for x, y, z in factors)
    return parsed, held, written


def _rows(checkpoint: Checkpoint, name: str) -> int:
    return vocabulary_rows(name, checkpoint.tensors[name].spec.shape)


def vocabulary_digest(checkpoint: Checkpoint) -> str:
    """What models with the same vocabulary files share.

    Raises:
        CheckpointError: a file is broken.
        MachineError: a file cannot be read.
    """
    digest = xxhash.xxh3_128()
    names = (*READABLE, *BINARY)
    for file in (file for file in checkpoint.side_files if file.name in names):
        digest.update(file.name.encode() + b"\0" + read_bytes(file))
    digest.update(repr(_stated_beside(checkpoint)).encode())
    return digest.hexdigest()


def has_vocabulary(checkpoint: Checkpoint) -> bool:
    """Whether there are files that say which tokens the model has.

    Raises:
        CheckpointError: tokenizer_config.json is broken.
        MachineError: a file cannot be read.
    """
    files = _present(checkpoint)
    if not files.keys().isdisjoint(_VOCABULARIES):
        return True
    if sentencepiece_file(files) is None:
        return False
    return family_of(optional_object(files, SETTINGS), checkpoint.config) is not None


def read_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer of a model.

    Raises:
        CheckpointError: it has none, or one in a format that is not read here, or a broken one.
        MachineError: a file cannot be read.
    """
    files = _present(checkpoint)
    if TOKENIZER in files:
        kind, tokens, added = _from_json(files[TOKENIZER])
    elif VOCABULARY_JSON in files:
        kind, added = "BPE", {}
        tokens = dict(checked_ids(files[VOCABULARY_JSON], read_json_object(files[VOCABULARY_JSON])))
    elif VOCABULARY_TEXT in files:
        kind, added = "WordPiece", {}
        tokens = {line: i for i, line in enumerate(_lines(files[VOCABULARY_TEXT]))}
    else:
        return _from_sentencepiece(checkpoint)
    for content, number, settings in (*tokens_in_settings(files), *tokens_in_list(files)):
        if content not in tokens or TOKENIZER not in files:
            tokens.setdefault(content, number)
            added.setdefault(content, settings)
    holding = next(files[name] for name in _VOCABULARIES if name in files)
    return Tokenizer(holding.parent, kind, tokens, added)


def _from_sentencepiece(checkpoint: Checkpoint) -> Tokenizer:
    files = _present(checkpoint)
    settings = optional_object(files, SETTINGS)
    family = family_of(settings, checkpoint.config)
    path = sentencepiece_file(files)
    if path is None:
        raise CheckpointError(_missing(checkpoint))
    if family is None:
        got = f"{settings.get('tokenizer_class')}, model_type {checkpoint.config.get('model_type')}"
        what = "it is not known which ids the pieces have with this tokenizer_class"
        raise CheckpointError(Problem(what, str(path), got, hint=CONVERT_FIRST))
    slow = read_slow_tokenizer(path, files, family)
    return Tokenizer(path.parent, slow.model.kind, slow.tokens, slow.added, slow)


def _present(checkpoint: Checkpoint) -> dict[str, Path]:
    return {
        file.name: file
        for file in checkpoint.side_files
        if file.name in (*READABLE, *BINARY, SETTINGS, SPECIAL_TOKENS)
    }


def _stated_beside(checkpoint: Checkpoint) -> object:
    """What files beside the vocabulary say about ids."""
    files = _present(checkpoint)
    added = sorted((number, content) for content, number, _ in tokens_in_settings(files))
    if not files.keys().isdisjoint(_VOCABULARIES) or sentencepiece_file(files) is None:
        return added
    settings = optional_object(files, SETTINGS)
    family = family_of(settings, checkpoint.config)
    stated = {**optional_object(files, SPECIAL_TOKENS), **settings}
    special = sorted({token["content"] for token in special_tokens(stated).values()})
    return added, special, settings.get("extra_ids"), family and family.names.__name__


def _missing(checkpoint: Checkpoint) -> Problem:
    opaque = [name for name in BINARY if name in _present(checkpoint)]
    if not opaque:
        wanted = ", ".join((*_VOCABULARIES, *SENTENCEPIECE))
        return Problem("no tokenizer", str(checkpoint.path), wanted=f"one of {wanted}")
    what = "the vocabulary is in a format that is not read"
    return Problem(what, str(checkpoint.path), ", ".join(opaque), TOKENIZER, CONVERT_FIRST)


def _from_json(path: Path) -> tuple[str, dict[str, int], dict[str, Mapping[str, Any]]]:
    content = read_tokens_of(path)
    model: Any = content.get("model")
    listed = content.get("added_tokens") or []
    try:
        vocabulary = model["vocab"]
        kind = kind_of(model)
        if isinstance(vocabulary, list):
            tokens = {piece: number for number, (piece, _) in enumerate(vocabulary)}
        else:
            tokens = dict(checked_ids(path, vocabulary))
        added = {token["content"]: token for token in listed}
        tokens.update(checked_ids(path, {content: token["id"] for content, token in added.items()}))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        got = f"{type(error).__name__}: {error}"
        raise CheckpointError(Problem("not a tokenizer", str(path), got)) from error
    return kind, tokens, added


def kind_of(model: Mapping[str, Any]) -> str:
    """The kind of model of a tokenizer.json; old files do not say it."""
    if model.get("type"):
        return str(model["type"])
    if isinstance(model["vocab"], list):
        return "Unigram"
    return "BPE" if "merges" in model else "WordPiece"


def _lines(path: Path) -> list[str]:
    with machine_errors(path):
        return path.read_text(encoding="utf-8").splitlines()
