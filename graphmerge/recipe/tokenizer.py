"""The sections of a recipe about the vocabulary, and `chat_template:`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.recipe.references import read_reference
from graphmerge.recipe.sections import exactly_one
from graphmerge.recipe.suggestions import suggest
from graphmerge.recipe.values import ModelReference, TokenizerSettings, TokenKind, TokenSource

if TYPE_CHECKING:
    from graphmerge.recipe.cursor import Cursor

CHAT_TEMPLATES = ("auto", "alpaca", "chatml", "llama3", "mistral", "exaone")
"""What `chat_template:` knows by name; anything else is a literal template."""

EMBEDDINGS = ("auto", "crop", "extend", "error")
"""What `embeddings:` may be, the default first."""


def read_vocabulary(root: Cursor, fields: Mapping[str, Cursor]) -> TokenizerSettings | None:
    """The settings of `tokenizer:`, or of the older `tokenizer_source:`."""
    given = [key for key in ("tokenizer", "tokenizer_source") if key in fields]
    if not given or exactly_one(root, fields, ("tokenizer", "tokenizer_source")) is None:
        return None
    if given == ["tokenizer"]:
        return _read_tokenizer(fields["tokenizer"])
    return TokenizerSettings(_read_vocabulary_source(fields["tokenizer_source"]))


def read_embeddings(fields: Mapping[str, Cursor]) -> str:
    """`embeddings:`, which has no meaning beside a tokenizer section."""
    if "embeddings" not in fields:
        return EMBEDDINGS[0]
    place = fields["embeddings"]
    text = place.text() or EMBEDDINGS[0]
    if text not in EMBEDDINGS:
        hint = suggest(text, EMBEDDINGS)
        place.report("not a way to treat embeddings", wanted=", ".join(EMBEDDINGS), hint=hint)
    elif "tokenizer" in fields or "tokenizer_source" in fields:
        place.report("has no effect beside a tokenizer section", hint="leave one of them out")
    return text


def read_chat_template(place: Cursor | None) -> str | None:
    """`auto`, the name of a built-in template, or a literal Jinja template."""
    text = place.text() if place else None
    if place and text and text not in CHAT_TEMPLATES and "{" not in text:
        wanted = f"{', '.join(CHAT_TEMPLATES)}, or a Jinja template"
        place.report("not a chat template", wanted=wanted, hint=suggest(text, CHAT_TEMPLATES))
    if place and text and any(map(_is_surrogate, text)):
        place.report("not text: half of a pair of surrogates", hint="write the character itself")
    return text


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _read_tokenizer(place: Cursor) -> TokenizerSettings:
    fields = place.fields(("source", "tokens", "pad_to_multiple_of"))
    entries = fields["tokens"].entries() if "tokens" in fields else {}
    tokens = {token: found for token, entry in entries.items() if (found := _read_token(entry))}
    multiple = (
        fields["pad_to_multiple_of"].integer(minimum=1) if "pad_to_multiple_of" in fields else None
    )
    source = _read_vocabulary_source(fields["source"]) if "source" in fields else "union"
    return TokenizerSettings(source, tokens, multiple)


def _read_vocabulary_source(place: Cursor) -> str | ModelReference:
    if place.value in ("union", "base"):
        return str(place.value)
    return read_reference(place) or "union"  # after a mistake the settings are not used


def _read_token(place: Cursor) -> TokenSource | None:
    """`{source, force}` of one token; None, with the problems reported, if it is wrong."""
    fields = place.fields(("source", "force"), required=("source",))
    force = fields["force"].value if "force" in fields else False
    if not isinstance(force, bool):
        fields["force"].report("not a boolean", wanted="true or false")
        return None
    source = _read_token_source(fields["source"]) if "source" in fields else None
    return evolve(source, force=force) if source else None


def _read_token_source(place: Cursor) -> TokenSource | None:
    """A model, `{kind: zero}`, or `{kind: model_token, model, token | token_id}`."""
    if not isinstance(place.value, Mapping) or "kind" not in place.value:
        model = read_reference(place)
        return TokenSource(TokenKind.MODEL, model) if model else None
    kind = place.value["kind"]
    if kind == "zero":
        place.fields(("kind",))
        return TokenSource(TokenKind.ZERO)
    if kind == "model_token":
        return _read_model_token(place)
    kinds = ("zero", "model_token")
    hint = suggest(str(kind), kinds)
    place.at("kind", kind).report("unknown kind of source", wanted="zero or model_token", hint=hint)
    return None


def _read_model_token(place: Cursor) -> TokenSource | None:
    fields = place.fields(("kind", "model", "token", "token_id"), required=("model",))
    exactly_one(place, fields, ("token", "token_id"))
    model = read_reference(fields["model"]) if "model" in fields else None
    token = fields["token"].text() if "token" in fields else None
    token_id = fields["token_id"].integer(minimum=0) if "token_id" in fields else None
    return TokenSource(TokenKind.MODEL_TOKEN, model, token, token_id)
