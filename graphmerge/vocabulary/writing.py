"""Write the tokenizer of the output: the donor's files, with the tokens that are new to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from graphmerge.checkpoint.access import machine_errors, read_json_object, read_optional_object
from graphmerge.vocabulary.file_names import (
    ADDED_TOKENS,
    MERGES,
    SETTINGS,
    TOKENIZER,
    VOCABULARY_JSON,
    VOCABULARY_TEXT,
)
from graphmerge.vocabulary.reading import kind_of
from graphmerge.vocabulary.sentencepiece_json import as_json, merges_of, settings_for_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from graphmerge.vocabulary.combining import OutputVocabulary
    from graphmerge.vocabulary.tokenizer import Tokenizer

_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
_FAR_BELOW = 10.0
"""How far below the worst score of a Unigram the tokens lie that only fill a place in its list."""


def extended_files(vocabulary: OutputVocabulary) -> dict[str, str]:
    """The text of every file that new tokens change, by name; the other files stay as they are.

    New tokens that are matched verbatim in their tokenizer, and those that only the recipe names,
    are matched verbatim; the others get into the model. Of BPE the merges of all tokenizers are
    kept, the donor's first, then those of the others that it does not have, in their order.

    Raises:
        CheckpointError: a file is broken.
        MachineError: a file cannot be read.
    """
    folder = vocabulary.donor.folder
    added = _added(vocabulary)
    names = _names(vocabulary)
    merges = [] if vocabulary.donor.kind == "Unigram" else _merges(vocabulary)
    files: dict[str, str] = {}
    content = _content(vocabulary.donor)
    if content:
        _extend_model(content["model"], vocabulary, names, added, merges)
        content["added_tokens"] = [*(content.get("added_tokens") or []), *added.values()]
        files[TOKENIZER] = json.dumps(content, ensure_ascii=False)
    if (folder / VOCABULARY_JSON).exists():
        stored = dict(read_json_object(folder / VOCABULARY_JSON))
        plain = {token: i for token, i in vocabulary.new.items() if token not in added}
        files[VOCABULARY_JSON] = json.dumps(stored | plain, ensure_ascii=False)
    if (folder / MERGES).exists():
        files[MERGES] = "\n".join(["#version: 0.2", *map(" ".join, merges)]) + "\n"
    if (folder / VOCABULARY_TEXT).exists():
        places = range(vocabulary.size)
        files[VOCABULARY_TEXT] = "\n".join(names.get(i, f"[unused{i}]") for i in places) + "\n"
    if (folder / ADDED_TOKENS).exists() or TOKENIZER not in files:
        listed = read_optional_object(folder / ADDED_TOKENS)
        listed |= {token: settings["id"] for token, settings in added.items()}
        files[ADDED_TOKENS] = json.dumps(listed, ensure_ascii=False, indent=2)
    return files | _settings(vocabulary.donor, added)


def _settings(donor: Tokenizer, added: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """tokenizer_config.json, if it changes."""
    before = read_optional_object(donor.folder / SETTINGS)
    settings = settings_for_json(donor.slow) if donor.slow else dict(before)
    if "added_tokens_decoder" in settings:
        settings["added_tokens_decoder"] = settings["added_tokens_decoder"] | {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"}
            for token in added.values()
        }
    if settings == before:
        return {}
    return {SETTINGS: json.dumps(settings, ensure_ascii=False, indent=2)}


def _names(vocabulary: OutputVocabulary) -> dict[int, str]:
    """Every token by id."""
    every = {**vocabulary.donor.tokens, **vocabulary.new}
    return {number: token for token, number in sorted(every.items(), key=lambda item: item[1])}


def _added(vocabulary: OutputVocabulary) -> dict[str, dict[str, Any]]:
    """New tokens that are matched verbatim, as tokenizer.json lists them."""
    found: dict[str, dict[str, Any]] = {}
    for token, number in vocabulary.new.items():
        holder = next((other for other in vocabulary.others if token in other.tokens), None)
        if holder is None:
            found[token] = {"id": number, "content": token, **_PLAIN, "special": True}
        elif token in holder.added:
            defaults = {"id": number, "content": token, **_PLAIN, "special": False}
            given = holder.added[token]
            found[token] = {key: given.get(key, default) for key, default in defaults.items()}
            found[token]["id"] = number
    return found


def _extend_model(
    model: dict[str, Any],
    vocabulary: OutputVocabulary,
    names: Mapping[int, str],
    added: Mapping[str, Any],
    merges: Sequence[Sequence[str]],
) -> None:
    """Put new tokens, and merges, into the model of a tokenizer.json.

    Tokens that are matched verbatim get into it, too: the tokenizers library numbers those that are
    not in it anew, from the model's size on.
    """
    if kind_of(model) == "Unigram":
        plain = {token for token in vocabulary.new if token not in added}
        model["vocab"] = _pieces(model["vocab"], vocabulary, names, plain)
        return
    model["vocab"] = {token: number for number, token in names.items()}
    if "merges" in model:
        as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
        model["merges"] = list(map(" ".join, merges)) if as_text else merges


def _pieces(
    pieces: list[Any],
    vocabulary: OutputVocabulary,
    names: Mapping[int, str],
    plain: Collection[str],
) -> list[Any]:
    """The list of a Unigram, whose places are the ids: added tokens fill their places in it."""
    scores = {
        piece: score for other in reversed(vocabulary.others) for piece, score in _scores(other)
    }
    worst = min(score for _, score in pieces) - _FAR_BELOW
    places = range(len(pieces), vocabulary.size)
    more = ((names.get(i, f"<unused{i}>"), i) for i in places)
    return [*pieces, *([name, scores[name] if name in plain else worst] for name, _ in more)]


def _merges(vocabulary: OutputVocabulary) -> list[tuple[str, ...]]:
    """The merges of the donor, then those of the others that it does not have."""
    tokenizers = (vocabulary.donor, *vocabulary.others)
    return list(dict.fromkeys(pair for one in tokenizers for pair in _merges_of(one)))


def _merges_of(tokenizer: Tokenizer) -> Sequence[tuple[str, ...]]:
    folder = tokenizer.folder
    if tokenizer.slow:
        return merges_of(tokenizer.slow)
    if (folder / TOKENIZER).exists():
        listed = read_optional_object(folder / TOKENIZER)["model"].get("merges") or []
    elif (folder / MERGES).exists():
        with machine_errors(folder / MERGES):
            lines = (folder / MERGES).read_text(encoding="utf-8").splitlines()
        listed = [line for line in lines if line and not line.startswith("#version")]
    else:
        listed = []
    return [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in listed]


def _scores(tokenizer: Tokenizer) -> Iterable[tuple[str, float]]:
    """The pieces of a Unigram, with their scores."""
    listed: list[tuple[str, float]] = _content(tokenizer)["model"]["vocab"]
    return listed


def _content(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of a tokenizer.json, perhaps one that is made; empty if there is none."""
    if tokenizer.slow:
        return as_json(tokenizer.slow)
    return read_optional_object(tokenizer.folder / TOKENIZER)
