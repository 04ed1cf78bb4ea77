"""A checkpoint as frozen values: everything that its headers and config.json say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from graphmerge.spec import TensorSpec


@frozen
class TensorEntry:
    """Where the bytes of one stored tensor are."""

    name: str
    """Tensor name, as the header has it."""
    spec: TensorSpec
    """Shape and stored dtype."""
    file: Path
    """The safetensors file."""
    offset: int
    """First byte, counted from the start of the file (not of the data section)."""


@frozen(eq=False)
class Checkpoint:
    """The headers of one model folder or file."""

    path: Path
    """The folder, or the single .safetensors file."""
    tensors: Mapping[str, TensorEntry] = field(converter=MappingProxyType)
    """Every tensor by name, in natural order of names (`layers.2` before `layers.10`)."""
    config: Mapping[str, Any] = field(converter=MappingProxyType)
    """config.json; empty if there is none."""
    files: tuple[Path, ...]
    """The safetensors files, sorted by name."""
    side_files: tuple[Path, ...]
    """Tokenizer, generation-config, processor and chat-template files, sorted by name."""
