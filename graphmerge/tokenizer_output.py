"""The tokenizer and chat-template files of the output, and the token ids in its configs."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from graphmerge.build.alignment import has_tokenizer, tokenizer_of
from graphmerge.checkpoint.access import read_json_object
from graphmerge.output import copy_side_files, write_text
from graphmerge.vocabulary.chat_templates import TOKENIZER_FILES, template_files
from graphmerge.vocabulary.file_names import BINARY, VERSIONS
from graphmerge.vocabulary.reading import has_vocabulary, read_tokenizer
from graphmerge.vocabulary.writing import extended_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from graphmerge.build.alignment import TokenizerOrigin
    from graphmerge.checkpoint.values import Checkpoint
    from graphmerge.compilation import Compiled

_GENERATION = "generation_config.json"
_ID_KEYS = ("_token_id", "_token_ids", "_token_index")


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
        stale = [*(partial / name for name in TOKENIZER_FILES), *partial.glob(VERSIONS)]
        for file in stale:
            file.unlink(missing_ok=True)
        wanted = TOKENIZER_FILES if copied or origin.vocabulary is not None else frozenset()
        files = [file for file in origin.checkpoint.side_files if file.name in wanted]
        copy_side_files(files, partial, donor=folder_of(origin.checkpoint))
        _write_generation(compiled, origin, partial)
        if origin.vocabulary is not None:
            for name in BINARY:  # they cannot be extended, and would be read first by some
                (partial / name).unlink(missing_ok=True)
            for name, text in extended_files(origin.vocabulary).items():
                write_text(partial / name, text)
    if compiled.chat_template:
        for name, text in template_files(compiled.chat_template, partial).items():
            write_text(partial / name, text)


def config_with_token_ids(compiled: Compiled) -> dict[str, Any]:
    """The config of the output with the ids that special tokens have in its tokenizer.

    Raises:
        CheckpointError: a tokenizer file is broken.
        MachineError: a file cannot be read.
    """
    config, origin = dict(compiled.build.model.config), compiled.build.model.tokenizer
    if origin is None or _is_donor(compiled, origin):
        return config
    return _with_token_ids(config, origin.checkpoint.config, _translation(compiled))


def folder_of(checkpoint: Checkpoint) -> Path:
    """The folder that a checkpoint's files are in."""
    return checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent


def _is_donor(compiled: Compiled, origin: TokenizerOrigin) -> bool:
    return origin.checkpoint.path == compiled.build.model.checkpoint.path


def _write_generation(compiled: Compiled, origin: TokenizerOrigin, partial: Path) -> None:
    """Give generation_config.json the token ids of the model that the tokenizer is from."""
    given, path = folder_of(origin.checkpoint) / _GENERATION, partial / _GENERATION
    if path.exists() and not _is_donor(compiled, origin):
        other = read_json_object(given) if given.exists() else origin.checkpoint.config
        own = read_json_object(path)
        changed = _with_token_ids(own, other, _translation(compiled))
        write_text(path, json.dumps(changed, indent=2, ensure_ascii=False) + "\n")


def _with_token_ids(
    config: Mapping[str, Any], other: Mapping[str, Any], translate: Callable[[int], int | None]
) -> dict[str, Any]:
    """A config with the ids of another one; those that it does not state are translated."""
    changed = dict(config)
    for key, value in config.items():
        nested = other.get(key, dict(other))
        if key.endswith(_ID_KEYS):
            changed[key] = other[key] if key in other else _translated(value, translate)
        elif key == "text_config" and isinstance(value, dict) and isinstance(nested, dict):
            changed[key] = _with_token_ids(value, nested, translate)
    return changed


def _translated(value: object, translate: Callable[[int], int | None]) -> object:
    if isinstance(value, list):
        found = [translate(number) for number in value if isinstance(number, int)]
        return [number for number in found if number is not None]
    return translate(value) if isinstance(value, int) else value


def _translation(compiled: Compiled) -> Callable[[int], int | None]:
    """Gives the id of the same token in the output's tokenizer; None if that lacks the token."""
    donor = compiled.build.model.checkpoint

    @cache
    def known() -> tuple[dict[int, str], Mapping[str, int]]:
        if not (has_vocabulary(donor) and has_tokenizer(compiled.build.model)):
            return {}, {}
        names = {number: token for token, number in read_tokenizer(donor).tokens.items()}
        return names, tokenizer_of(compiled.build.model).tokens

    def translate(number: int) -> int | None:
        names, ids = known()
        return ids.get(names[number]) if number in names else number

    return translate
