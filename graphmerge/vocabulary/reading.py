"""Read the tokenizer of a model folder: tokenizer.json, or the older vocabulary files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xxhash

from graphmerge.checkpoint.access import machine_errors, read_bytes, read_json_object
from graphmerge.errors import CheckpointError, Problem
from graphmerge.vocabulary.tokenizer import Tokenizer
from graphmerge.vocabulary.tokenizer_json import read_tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from graphmerge.checkpoint.values import Checkpoint

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
VOCABULARY_JSON, MERGES, VOCABULARY_TEXT = "vocab.json", "merges.txt", "vocab.txt"
ADDED_TOKENS, SPECIAL_TOKENS = "added_tokens.json", "special_tokens_map.json"
READABLE = (TOKENIZER, VOCABULARY_JSON, MERGES, VOCABULARY_TEXT, ADDED_TOKENS)
"""Files that say which tokens there are."""
OPAQUE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tekken.json")
"""Files that say it in formats that are not read here."""
_VOCABULARIES = (TOKENIZER, VOCABULARY_JSON, VOCABULARY_TEXT)
"""Files of which one is enough, the one that is read first."""
_PARSED_BYTES, _HELD_BYTES = 13, 3
"""Memory that a byte of a tokenizer's files takes while they are parsed, and what stays of it until
all are read. Measured on BPE of 128,000 tokens and 256,000 merges, 7.6 MiB each: reading one took
91 MiB, each further one 18 MiB more, and writing their union 82 MiB on top."""


def reading_bytes(checkpoints: Iterable[Checkpoint], *, is_extended: bool) -> int:
    """Memory that reading the tokenizers of models takes, one after the other.

    Args:
        checkpoints: The models.
        is_extended: Whether one of them is extended by tokens of the others when it is written.
    """
    sizes = [
        sum(path.stat().st_size for path in _present(checkpoint).values() if path.exists())
        for checkpoint in checkpoints
    ]
    return max(sizes) * _PARSED_BYTES * (1 + is_extended) + sum(sizes) * _HELD_BYTES


def vocabulary_digest(checkpoint: Checkpoint) -> str:
    """What models with the same vocabulary files share."""
    digest = xxhash.xxh3_128()
    names = (*READABLE, *OPAQUE)
    for file in (file for file in checkpoint.side_files if file.name in names):
        digest.update(file.name.encode() + b"\0" + read_bytes(file))
    return digest.hexdigest()


def has_vocabulary(checkpoint: Checkpoint) -> bool:
    """Whether there are files that say which tokens the model has."""
    return not _present(checkpoint).keys().isdisjoint(_VOCABULARIES)


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
        tokens = dict(_ids(files[VOCABULARY_JSON], read_json_object(files[VOCABULARY_JSON])))
    elif VOCABULARY_TEXT in files:
        kind, added = "WordPiece", {}
        tokens = {line: i for i, line in enumerate(_lines(files[VOCABULARY_TEXT]))}
    else:
        raise CheckpointError(_missing(checkpoint))
    for content, number, settings in _added_elsewhere(files):
        if content not in tokens or TOKENIZER not in files:
            tokens.setdefault(content, number)
            added.setdefault(content, settings)
    holding = next(files[name] for name in _VOCABULARIES if name in files)
    return Tokenizer(holding.parent, kind, tokens, added)


def _present(checkpoint: Checkpoint) -> dict[str, Path]:
    return {
        file.name: file
        for file in checkpoint.side_files
        if file.name in (*READABLE, *OPAQUE, SETTINGS)
    }


def _missing(checkpoint: Checkpoint) -> Problem:
    opaque = [name for name in OPAQUE if name in _present(checkpoint)]
    if not opaque:
        wanted = f"{TOKENIZER}, {VOCABULARY_JSON} or {VOCABULARY_TEXT}"
        return Problem("no tokenizer", str(checkpoint.path), wanted=wanted)
    hint = (
        "write a tokenizer.json with transformers: "
        "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
    )
    what = "the vocabulary is in a format that is not read"
    return Problem(what, str(checkpoint.path), ", ".join(opaque), TOKENIZER, hint)


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
            tokens = dict(_ids(path, vocabulary))
        added = {token["content"]: token for token in listed}
        tokens.update(_ids(path, {content: token["id"] for content, token in added.items()}))
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


def _ids(path: Path, vocabulary: Mapping[str, Any]) -> Mapping[str, int]:
    if not set(map(type, vocabulary.values())) <= {int}:
        raise CheckpointError(Problem("a token has no integer id", str(path)))
    return vocabulary


def _lines(path: Path) -> list[str]:
    with machine_errors(path):
        return path.read_text(encoding="utf-8").splitlines()


def _added_elsewhere(files: Mapping[str, Path]) -> list[tuple[str, int, Mapping[str, Any]]]:
    """Tokens that files beside the vocabulary add: content, id and settings."""
    found: list[tuple[str, int, Mapping[str, Any]]] = []
    if SETTINGS in files:
        decoder = read_json_object(files[SETTINGS]).get("added_tokens_decoder") or {}
        try:
            found += [(token["content"], int(number), token) for number, token in decoder.items()]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            got = f"{type(error).__name__}: {error}"
            what = "added_tokens_decoder is not what it should be"
            raise CheckpointError(Problem(what, str(files[SETTINGS]), got)) from error
    if ADDED_TOKENS in files:
        listed = _ids(files[ADDED_TOKENS], read_json_object(files[ADDED_TOKENS]))
        found += [(token, number, {"content": token}) for token, number in listed.items()]
    return found
