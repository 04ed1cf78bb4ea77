"""Copies of checkpoints whose matrices are codes of 8-bit floats with a scale for every block."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.testing.stored_models import read_model

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = torch.finfo(torch.float8_e4m3fn).max


def write_block_scaled(folder: Path, source: Path, *, block: int = 128) -> None:
    """Write a model folder with F8_E4M3 matrices and `weight_scale_inv`, as DeepSeek-V3 has them.

    Args:
        folder: created; it must not exist.
        source: a checkpoint folder of float tensors.
        block: rows and columns that share a scale.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in read_model(source).items():
        if tensor.ndim == 2 and "embed" not in name and "lm_head" not in name:
            tensors[name], tensors[f"{name}_scale_inv"] = block_scaled(tensor, block)
        else:
            tensors[name] = tensor
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = dict(read_checkpoint(source).config)
    config["quantization_config"] = {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [block, block],
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def block_scaled(matrix: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (rows, columns) and scales (blocks, blocks) of a matrix; edges have partial blocks."""
    rows, columns = matrix.shape
    scales = torch.empty(-(-rows // block), -(-columns // block))
    codes = torch.empty(rows, columns, dtype=torch.float8_e4m3fn)
    for i, j in torch.cartesian_prod(*map(torch.arange, scales.shape)).tolist():
        part = (slice(i * block, (i + 1) * block), slice(j * block, (j + 1) * block))
        numbers = matrix[part].float()
        scales[i, j] = numbers.abs().max().clamp_min(1e-12) / _LARGEST
        codes[part] = (numbers / scales[i, j]).to(codes.dtype)
    return codes, scales
