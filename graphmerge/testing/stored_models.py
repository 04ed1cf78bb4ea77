"""Small model folders from tensors at hand, and the tensors of a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from graphmerge.checkpoint.reading import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_model(
    folder: Path, tensors: Mapping[str, torch.Tensor], *, config: Mapping[str, Any] | None = None
) -> Path:
    """Write a model folder with one safetensors file.

    Args:
        folder: created if it does not exist.
        tensors: what to store, by name.
        config: content of config.json; None writes none.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    if config is not None:
        (folder / "config.json").write_text(json.dumps(dict(config)), encoding="utf-8")
    return folder


def write_torch_copy(folder: Path, source: Path) -> None:
    """Write the model of a folder as `pytorch_model.bin`, with its config.json.

    Args:
        folder: created; it must not exist.
        source: a checkpoint folder.
    """
    folder.mkdir(parents=True)
    torch.save(read_model(source), folder / "pytorch_model.bin")
    shutil.copyfile(source / "config.json", folder / "config.json")


def flip_byte(path: Path, position: int = -1) -> None:
    """Change a bit of a byte of a file, by default of the last one."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def read_model(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a model folder, by name, as safetensors reads them."""
    tensors: dict[str, torch.Tensor] = {}
    for file in read_checkpoint(folder).files:
        tensors.update(load_file(file))
    return tensors


def weights_digest(folder: Path) -> str:
    """SHA-256 over the safetensors files of a folder: equal digests, equal bytes."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def same_bytes(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors have one spec and the same bytes: -0 is not 0, and NaN is itself."""
    if first.dtype is not second.dtype or first.shape != second.shape:
        return False
    pair = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (first, second)]
    return torch.equal(*pair)
