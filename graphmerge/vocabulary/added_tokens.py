"""Tokens that files beside the vocabulary add to it, with their ids, and special tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from graphmerge.checkpoint.access import read_json_object
from graphmerge.errors import CheckpointError, Problem
from graphmerge.vocabulary.file_names import ADDED_TOKENS, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

AddedToken: TypeAlias = "tuple[str, int, Mapping[str, Any]]"
"""Content, id and settings of a token."""
_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
"""What special tokens are for, in the order in which those without an id get one."""
_FURTHER = ("additional_special_tokens", "extra_special_tokens")


def optional_object(files: Mapping[str, Path], name: str) -> Mapping[str, Any]:
    """The content of a JSON file; empty if there is no such file.

    Raises:
        CheckpointError: the file is not JSON, or no object.
        MachineError: the file cannot be read.
    """
    return read_json_object(files[name]) if name in files else {}


def tokens_in_settings(files: Mapping[str, Path]) -> list[AddedToken]:
    """Those in the `added_tokens_decoder` of tokenizer_config.json.

    Raises:
        CheckpointError: the file is broken.
        MachineError: the file cannot be read.
    """
    decoder = optional_object(files, SETTINGS).get("added_tokens_decoder") or {}
    try:
        return [(token["content"], int(number), token) for number, token in decoder.items()]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        got = f"{type(error).__name__}: {error}"
        what = "added_tokens_decoder is not what it should be"
        raise CheckpointError(Problem(what, str(files[SETTINGS]), got)) from error


def tokens_in_list(files: Mapping[str, Path]) -> list[AddedToken]:
    """Those in added_tokens.json.

    Raises:
        CheckpointError: the file is broken.
        MachineError: the file cannot be read.
    """
    listed = optional_object(files, ADDED_TOKENS)
    if listed:
        listed = checked_ids(files[ADDED_TOKENS], listed)
    return [(token, number, {"content": token}) for token, number in listed.items()]


def checked_ids(path: Path, vocabulary: Mapping[str, Any]) -> Mapping[str, int]:
    """A vocabulary, if all its ids are integers.

    Raises:
        CheckpointError: one is not.
    """
    if not set(map(type, vocabulary.values())) <= {int}:
        raise CheckpointError(Problem("a token has no integer id", str(path)))
    return vocabulary


def special_tokens(settings: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The settings of the special tokens that files name, by role, in the order of roles.

    Args:
        settings: Roles with tokens, as content or with settings, or null.
    """
    listed = [(f"{role}_token", settings.get(f"{role}_token")) for role in _ROLES]
    for key in _FURTHER:
        more = settings.get(key) or ()
        contents = more.values() if isinstance(more, dict) else more
        listed += [(f"{key}[{number}]", token) for number, token in enumerate(contents)]
    found = {
        role: {"content": token} if isinstance(token, str) else token for role, token in listed
    }
    return {
        role: {**token, "special": True}
        for role, token in found.items()
        if isinstance(token, dict) and isinstance(token.get("content"), str)
    }
