"""Make the content of a tokenizer.json that splits text as a sentencepiece model does.

Sentencepiece merges, in BPE, the two neighbours whose union has the highest score, the leftmost of
equal ones; a tokenizer.json lists pairs by rank. The two agree if scores of pieces differ: a piece
ranks by its score, and the pairs that make it follow each other, in any order.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from graphmerge.vocabulary.sentencepiece_file import PieceType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.vocabulary.sentencepiece_file import SentencePieces
    from graphmerge.vocabulary.slow_tokenizer import SlowTokenizer

_SPACE = "▁"
_TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def obstacles(slow: SlowTokenizer) -> list[str]:
    """Why no tokenizer.json would split every text as a sentencepiece model does."""
    model = slow.model
    found = {
        "its class prepares texts in a way of its own": slow.family.frame is None,
        "it has unused pieces": PieceType.UNUSED in model.types,
        "user-defined pieces are looked for after the space that is put before a text": bool(
            slow.own_symbols and _prefixes(slow)
        ),
        "user-defined pieces have spaces, and text is normalised": bool(
            _has_spaces_in_symbols(slow) and (model.removes_spaces or model.charsmap)
        ),
        "spaces are removed, and `legacy` is false": model.removes_spaces and not _is_legacy(slow),
    }
    if model.kind == "BPE":
        normal = _normal_pieces(model)
        longer = {piece: score for piece, score in normal.items() if len(piece) > 1}
        single = set("".join(longer)).difference(normal)
        found |= {
            "scores of pieces are equal": len(set(longer.values())) < len(longer),
            f"characters within pieces are none, such as {min(single, default='')!r}": bool(single),
        }
    return [*model.oddities, *(what for what, is_so in found.items() if is_so)]


def _has_spaces_in_symbols(slow: SlowTokenizer) -> bool:
    return any(_SPACE in piece for piece in slow.own_symbols)


def _normal_pieces(model: SentencePieces) -> dict[str, float]:
    """The pieces that text is made of, with their scores."""
    normal = (model.types == PieceType.NORMAL).tolist()
    listed = zip(model.pieces, model.scores.tolist(), normal, strict=True)
    return {piece: score for piece, score, is_normal in listed if is_normal}


def as_json(slow: SlowTokenizer) -> dict[str, Any]:
    """The content of a tokenizer.json, but for its merges."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(slow),
        "normalizer": {"type": "Sequence", "normalizers": list(_normalizers(slow))},
        "pre_tokenizer": None if _is_legacy(slow) else _prefix_of_first(slow),
        "post_processor": _post_processor(slow),
        "decoder": _decoder(slow),
        "model": _bpe(slow) if slow.model.kind == "BPE" else _unigram(slow),
    }


def settings_for_json(slow: SlowTokenizer) -> dict[str, Any]:
    """The content of tokenizer_config.json that goes with it.

    The class becomes the one that takes a tokenizer.json as it is: the others look for the
    sentencepiece file, or replace parts of the tokenizer.
    """
    kept = {key: value for key, value in slow.settings.items() if key != "auto_map"}
    named = {role: token for role, token in slow.special.items() if role.endswith("_token")}
    return {**named, **kept, "tokenizer_class": "PreTrainedTokenizerFast"}


def merges_of(slow: SlowTokenizer) -> list[tuple[str, str]]:
    """The pairs of pieces that are merged, in their order; none for a Unigram."""
    if slow.model.kind != "BPE":
        return []
    known = {piece: x for piece, x in _normal_pieces(slow.model).items() if piece in slow.tokens}
    return [
        (piece[:place], piece[place:])
        for piece in sorted(known, key=known.__getitem__, reverse=True)
        for place in range(1, len(piece))
        if piece[:place] in known and piece[place:] in known
    ]


def _is_legacy(slow: SlowTokenizer) -> bool:
    return not (slow.family.has_legacy and slow.settings.get("legacy") is False)


def _prefixes(slow: SlowTokenizer) -> bool:
    """Whether a space is put before a text."""
    if _is_legacy(slow):
        return slow.model.adds_prefix
    return bool(slow.settings.get("add_prefix_space", True))


def _added_tokens(slow: SlowTokenizer) -> list[dict[str, Any]]:
    """Tokens that are matched verbatim, in the text as it is.

    Those that sentencepiece itself looks for may have spaces in them, as it writes these: they are
    looked for where spaces have been replaced.
    """
    own = slow.own_symbols if _has_spaces_in_symbols(slow) else ()
    return [
        {"id": slow.tokens[content], "content": content}
        | {flag: bool(token.get(flag, False)) for flag in _TOKEN_FLAGS}
        | {"normalized": content in own, "special": bool(token.get("special", False))}
        for content, token in slow.added.items()
    ]


def _normalizers(slow: SlowTokenizer) -> Iterator[dict[str, Any]]:
    """Characters first, then spaces, among them the one that is put before the text."""
    model = slow.model
    if model.charsmap:
        stored = base64.b64encode(model.charsmap).decode()
        yield {"type": "Precompiled", "precompiled_charsmap": stored}
    if model.removes_spaces:
        yield _replace({"Regex": r"\A +"}, "")
        yield _replace({"Regex": " {2,}"}, " ")
    if _is_legacy(slow):
        if model.adds_prefix:
            yield {"type": "Prepend", "prepend": _SPACE}
        yield _replace({"String": " "}, _SPACE)
    if model.removes_spaces:
        yield _replace({"Regex": rf"{_SPACE}+\z"}, "")


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _prefix_of_first(slow: SlowTokenizer) -> dict[str, Any]:
    """The space before the text, but not after special tokens within it."""
    scheme = "first" if _prefixes(slow) else "never"
    return {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": scheme, "split": False}


def _post_processor(slow: SlowTokenizer) -> dict[str, Any] | None:
    if slow.family.frame is None:
        return None
    single, pair = slow.family.frame(slow.special, slow.settings)
    framing = sorted({*single, *pair} - {"A", "B"})
    return {
        "type": "TemplateProcessing",
        "single": [_part(part) for part in single],
        "pair": [_part(part) for part in pair],
        "special_tokens": {
            token: {"id": token, "ids": [slow.tokens[token]], "tokens": [token]}
            for token in framing
        },
    }


def _part(part: str) -> dict[str, Any]:
    if part in ("A", "B"):
        return {"Sequence": {"id": part, "type_id": 0}}
    return {"SpecialToken": {"id": part, "type_id": 0}}


def _decoder(slow: SlowTokenizer) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [_replace({"String": _SPACE}, " ")]
    if slow.model.has_byte_fallback:
        parts.append({"type": "ByteFallback"})
    parts.append({"type": "Fuse"})
    if _prefixes(slow):
        parts.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": parts}


def _bpe(slow: SlowTokenizer) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": slow.unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": slow.model.has_byte_fallback,
        "ignore_merges": False,
        "vocab": slow.tokens,
        "merges": [],
    }


def _unigram(slow: SlowTokenizer) -> dict[str, Any]:
    """Every id has a place in the list; those that are no piece get a score of 0."""
    scores = dict(zip(slow.model.pieces, slow.model.scores.tolist(), strict=True))
    names = {number: token for token, number in slow.tokens.items()}
    places = range(max(names) + 1)
    listed = [names.get(place, f"<|no token {place}|>") for place in places]
    return {
        "type": "Unigram",
        "unk_id": slow.tokens[slow.unknown],
        "vocab": [[name, scores.get(name, 0.0)] for name in listed],
        "byte_fallback": slow.model.has_byte_fallback,
    }
