"""The tokenizer and chat-template files of the output, and the token ids in its configs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from graphmerge.checkpoint.access import read_json_object
from graphmerge.output import copy_side_files, write_text
from graphmerge.vocabulary.chat_templates import TEMPLATE_FILE, template_files
from graphmerge.vocabulary.reading import OPAQUE, READABLE, SETTINGS, SPECIAL_TOKENS
from graphmerge.vocabulary.writing import extended_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from graphmerge.checkpoint.values import Checkpoint
    from graphmerge.compilation import Compiled

_FILES = (*READABLE, *OPAQUE, SETTINGS, SPECIAL_TOKENS, TEMPLATE_FILE)
_GENERATION = "generation_config.json"
_ID_KEYS = ("_token_id", "_token_ids")


def write_tokenizer(compiled: Compiled, partial: Path, *, copied: bool) -> None:
    """Write tokenizer and chat template into an output that has the side files of its donor.

    Args:
        compiled: What is merged.
        partial: The unfinished output.
        copied: Whether files of a tokenizer are copied; one that the recipe makes is written
            in any case.

    Raises:
        CheckpointError: a tokenizer file is broken.
        MachineError: a file cannot be read or written.
    """
    origin = compiled.build.model.tokenizer
    if origin is not None:
        for name in _FILES:
            (partial / name).unlink(missing_ok=True)
        wanted = _FILES if copied or origin.vocabulary is not None else ()
        files = [file for file in origin.checkpoint.side_files if file.name in wanted]
        copy_side_files(files, partial, donor=folder_of(origin.checkpoint))
        _write_generation(origin.checkpoint, partial)
        if origin.vocabulary is not None:
            for name in OPAQUE:  # they cannot be extended, and would be read first by some
                (partial / name).unlink(missing_ok=True)
            for name, text in extended_files(origin.vocabulary).items():
                write_text(partial / name, text)
    if compiled.chat_template:
        for name, text in template_files(compiled.chat_template, partial).items():
            write_text(partial / name, text)


def with_token_ids(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the ids of special tokens of another one, in nested text configs too."""
    changed = dict(config) | {
        key: value for key, value in other.items() if key.endswith(_ID_KEYS) and key in config
    }
    for key, value in config.items():
        nested = other.get(key)
        if key == "text_config" and isinstance(value, dict) and isinstance(nested, dict):
            changed[key] = with_token_ids(value, nested)
    return changed


def folder_of(checkpoint: Checkpoint) -> Path:
    """The folder that a checkpoint's files are in."""
    return checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent


def _write_generation(origin: Checkpoint, partial: Path) -> None:
    """Give generation_config.json the token ids of the model that the tokenizer is from."""
    given, path = folder_of(origin) / _GENERATION, partial / _GENERATION
    if given.exists() and path.exists():
        changed = with_token_ids(read_json_object(path), read_json_object(given))
        write_text(path, json.dumps(changed, indent=2, ensure_ascii=False) + "\n")
