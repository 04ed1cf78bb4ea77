"""The vocabulary of a model that has a sentencepiece file in place of a tokenizer.json.

Ids are those that the slow tokenizers of transformers 4 give: those of the class's family, those
that files state for added tokens, and the next ones for special tokens that have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphmerge.errors import CheckpointError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.vocabulary.added_tokens import (
    optional_object,
    special_tokens,
    tokens_in_list,
    tokens_in_settings,
)
from graphmerge.vocabulary.file_names import SENTENCEPIECE, SETTINGS, SPECIAL_TOKENS
from graphmerge.vocabulary.sentencepiece_file import PieceType, is_sentencepiece, read_sentencepiece

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from graphmerge.vocabulary.added_tokens import AddedToken
    from graphmerge.vocabulary.sentencepiece_file import SentencePieces
    from graphmerge.vocabulary.slow_families import Family

CONVERT_FIRST = (
    "write a tokenizer.json with transformers: "
    "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
)
"""What to do about a file that is not read here."""


@frozen(eq=False)
class SlowTokenizer:
    """A sentencepiece model with the ids and settings that it has in a model folder."""

    model: SentencePieces
    """The file."""
    family: Family
    """How texts are framed."""
    settings: Mapping[str, Any]
    """The content of tokenizer_config.json."""
    special: Mapping[str, str]
    """The special tokens, by role: `bos_token`."""
    tokens: Mapping[str, int]
    """The id of every token."""
    added: Mapping[str, Mapping[str, Any]]
    """Settings of the tokens that are matched verbatim, by content."""
    unknown: str
    """The token of unknown text."""
    own_symbols: tuple[str, ...]
    """Those of them that only sentencepiece knows, which looks for them itself."""


def sentencepiece_file(files: Mapping[str, Path]) -> Path | None:
    """The sentencepiece file among those of a tokenizer; None if there is none.

    Raises:
        MachineError: a file cannot be read.
    """
    found = (files[name] for name in SENTENCEPIECE if name in files)
    return next(filter(is_sentencepiece, found), None)


def read_slow_tokenizer(path: Path, files: Mapping[str, Path], family: Family) -> SlowTokenizer:
    """The tokenizer that a sentencepiece file makes with the files beside it.

    Args:
        path: The sentencepiece file.
        files: The files of the tokenizer, by name.
        family: How ids are given to pieces.

    Raises:
        CheckpointError: a file is broken, or which ids pieces have is not certain.
        MachineError: a file cannot be read.
    """
    settings, model = optional_object(files, SETTINGS), read_sentencepiece(path)
    if "added_tokens_decoder" in settings:  # then transformers reads no other file
        stated, special = tokens_in_settings(files), {**family.special, **settings}
    else:
        stated = tokens_in_list(files)
        special = {**family.special, **optional_object(files, SPECIAL_TOKENS), **settings}
    roles = special_tokens(special)
    names = family.names(model, settings)
    made = set(names).difference(model.pieces) if tuple(names) != model.pieces else ()
    unknown = names.index(model.of_type(PieceType.UNKNOWN)[0])
    tokens = _numbered(names, stated, path)
    _append(tokens, [token["content"] for token in roles.values()], path)
    listed = {token["content"]: token for token in roles.values()}
    listed |= {name: _made(name) for name in made}
    listed |= {content: token for content, _, token in stated}
    known = {piece: {"content": piece, "special": True} for piece in _reserved(model)}
    own = {piece: {"content": piece} for piece in model.of_type(PieceType.USER_DEFINED)}
    added = {name: token for name, token in (own | known | listed).items() if name in tokens}
    return SlowTokenizer(
        model,
        family,
        settings,
        {role: token["content"] for role, token in roles.items()},
        tokens,
        dict(sorted(added.items(), key=lambda item: tokens[item[0]])),
        names[unknown],
        tuple(piece for piece in own if piece in tokens and piece not in listed),
    )


def _reserved(model: SentencePieces) -> list[str]:
    return [*model.of_type(PieceType.UNKNOWN), *model.of_type(PieceType.CONTROL)]


def _made(name: str) -> dict[str, Any]:
    """Settings of a token that the tokenizer's class adds."""
    is_sentinel = name.startswith("<extra_id_")
    strips = {"lstrip": is_sentinel or name == "<mask>", "rstrip": is_sentinel}
    return {"content": name, "special": True, **strips}


def _numbered(names: list[str], stated: Iterable[AddedToken], path: Path) -> dict[str, int]:
    """The id of every token; a stated id that a piece has makes that piece the stated token."""
    tokens = {name: number for number, name in enumerate(names)}
    if len(tokens) < len(names):
        twice = next(name for number, name in enumerate(names) if tokens[name] != number)
        what = "a piece is called like a token that the tokenizer's class adds"
        raise CheckpointError(Problem(what, str(path), repr(twice), hint=CONVERT_FIRST))
    for content, number, _ in stated:
        former = names[number] if 0 <= number < len(names) else content
        if former != content and tokens.get(former) == number:
            del tokens[former]
            names[number] = content
        tokens[content] = number
    return tokens


def _append(tokens: dict[str, int], wanted: Iterable[str], path: Path) -> None:
    """Give special tokens without an id the next ones."""
    new = [token for token in dict.fromkeys(wanted) if token not in tokens]
    size = max(tokens.values()) + 1
    if new and len(tokens) != size:
        what = "no file says which ids special tokens have, and other ids are missing"
        hint = "add them to added_tokens_decoder in tokenizer_config.json"
        raise CheckpointError(Problem(what, str(path.parent), ", ".join(new), hint=hint))
    tokens.update(zip(new, range(size, size + len(new)), strict=True))
