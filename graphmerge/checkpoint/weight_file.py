"""Read the directory of one weight file, whatever its format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.checkpoint.header import read_header
from graphmerge.checkpoint.shards import TORCH_SUFFIXES
from graphmerge.checkpoint.torch_file import read_torch_file
from graphmerge.checkpoint.values import StoredFile

if TYPE_CHECKING:
    from pathlib import Path


def read_weight_file(path: Path) -> StoredFile:
    """The tensors of a safetensors or torch file.

    Raises:
        CheckpointError: the file is corrupt or cannot be read lazily.
        MachineError: the file cannot be read.
    """
    if path.suffix in TORCH_SUFFIXES:
        return read_torch_file(path)
    header = read_header(path)
    return StoredFile(header.tensors, columns=header.columns)
