"""Synthetic LoRA adapters of synthetic checkpoints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from graphmerge.checkpoint.adapter import ADAPTER_WEIGHTS
from graphmerge.checkpoint.adapter_config import ADAPTER_CONFIG
from graphmerge.checkpoint.reading import read_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_STD = np.float32(0.01)
"""Standard deviation of the factors' entries."""


def write_adapter(folder: Path, base_folder: Path, *, rank: int, seed: int) -> None:
    """Write an adapter of every matrix of a checkpoint, the embedding included.

    Args:
        folder: Made; it must not exist.
        base_folder: The checkpoint.
        rank: Rank of all factors.
        seed: Of the random numbers.
    """
    random = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, entry in read_checkpoint(base_folder).tensors.items():
        if len(entry.spec.shape) != 2:
            continue
        (rows, columns), ends = entry.spec.shape, (".lora_A.weight", ".lora_B.weight")
        if "embed" in name:
            (columns, rows), ends = entry.spec.shape, (".lora_embedding_A", ".lora_embedding_B")
        for end, shape in zip(ends, ((rank, columns), (rows, rank)), strict=True):
            stored = f"base_model.model.{name.removesuffix('.weight')}{end}"
            tensors[stored] = _STD * random.standard_normal(shape, np.float32)
    folder.mkdir(parents=True)
    save_file(tensors, folder / ADAPTER_WEIGHTS)
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "base_model_name_or_path": str(base_folder),
    }
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config), encoding="utf-8")
