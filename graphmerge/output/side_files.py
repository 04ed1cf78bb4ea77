"""The small files beside the shards: config.json and what is copied from the donor model."""

from __future__ import annotations

import copy
import json
import shutil
from typing import TYPE_CHECKING, Any, cast

from graphmerge.checkpoint.language_config import language_sections
from graphmerge.output.failures import write_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from graphmerge.spec import DType

_DTYPE_KEYS = ("torch_dtype", "dtype")
"""transformers writes the first before version 4.56, the second since, and reads both."""


def output_config(
    model_config: Mapping[str, Any],
    *,
    dtype: DType | None = None,
    vocabulary_size: int | None = None,
) -> dict[str, Any]:
    """The output's config.json.

    Args:
        model_config: Config of the model that is written, its layers already right.
        dtype: Dtype of the weights; None leaves it as it is.
        vocabulary_size: Rows of the embeddings; None leaves it as it is.
    """
    config = copy.deepcopy(dict(model_config))
    if dtype is not None:
        _set_dtype(config, dtype.torch_name)
    if vocabulary_size is not None:
        _set_vocabulary_size(config, vocabulary_size)
    return config


def has_dtype(config: Mapping[str, Any]) -> bool:
    """Whether a config says what dtype the weights have."""
    return any(key in config for key in _DTYPE_KEYS)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write config.json.

    Raises:
        MachineError: the file cannot be written.
    """
    write_text(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a small file: the index, the model card, the recipe.

    Half a pair of surrogates, as names of files and JSON may have, is written as JSON and YAML do.

    Raises:
        MachineError: the file cannot be written.
    """
    with write_errors(path, needed_bytes=len(text)):
        path.write_text(text, encoding="utf-8", errors="backslashreplace")


def copy_side_files(files: Iterable[Path], partial: Path, *, donor: Path) -> None:
    """Copy files to the places that they have in the donor; links are followed.

    Args:
        files: Files inside the donor's folder, or elsewhere: these go to the top.
        partial: The unfinished output.
        donor: The donor's folder.

    Raises:
        MachineError: a file cannot be read or written.
    """
    for file in files:
        target = partial / (file.relative_to(donor) if file.is_relative_to(donor) else file.name)
        with write_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _set_dtype(config: dict[str, Any], torch_name: str) -> None:
    """Set the dtype of the model and of its parts, under the keys that the config has already."""
    if not has_dtype(config):
        config[_DTYPE_KEYS[0]] = torch_name
    parts = (
        value
        for key, value in config.items()
        if key.endswith("_config") and key != "quantization_config" and isinstance(value, dict)
    )
    for section in (config, *parts):
        section.update({key: torch_name for key in _DTYPE_KEYS if key in section})


def _set_vocabulary_size(config: dict[str, Any], size: int) -> None:
    """Set it in the config and in its text config, and where other parts have the same number."""
    text_config = config.get("text_config")
    sections = [config, text_config] if isinstance(text_config, dict) else [config]
    stated = [section["vocab_size"] for section in sections if "vocab_size" in section]
    shared = [s for _, s in language_sections(config) if s.get("vocab_size") in stated]
    for section in cast("list[dict[str, Any]]", shared) or sections[-1:]:
        section["vocab_size"] = size
