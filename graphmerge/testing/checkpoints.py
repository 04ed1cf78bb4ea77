"""Synthetic Llama checkpoints of any size, written in chunks with bounded memory and without torch.

The same arguments give the same bytes whatever the number of threads: each chunk of a tensor has
its own random stream, keyed by the seed, the tensor's name and the chunk's position.
"""

from __future__ import annotations

import json
import shutil
import zlib
from typing import TYPE_CHECKING

import numpy as np

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.spec import DType
from graphmerge.testing.byte_tokenizer import write_tokenizer
from graphmerge.testing.chunks import Chunk, fill
from graphmerge.testing.sparse_files import INDEX_NAME, create_file, create_files
from graphmerge.units import GIB

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from graphmerge.checkpoint.values import TensorEntry
    from graphmerge.testing.llama_shapes import LlamaShape

_WEIGHT_STD = np.float32(0.02)
"""Standard deviation with which Llama's weights are initialised."""
_BASE_STREAM, _DELTA_STREAM = 0, 1
"""Keep the noise of a fine-tune apart from that of a base made with the same seed."""


def write_base(
    folder: Path,
    shape: LlamaShape,
    *,
    seed: int,
    dtype: str = "BF16",
    max_shard_bytes: int = 4 * GIB,
) -> None:
    """Write a model folder: Gaussian weights of standard deviation 0.02, norms around 1.

    Args:
        folder: created if it does not exist.
        shape: the sizes of the model.
        seed: of the random numbers.
        dtype: header name of the stored dtype: BF16, F16, F32 or F64.
        max_shard_bytes: data of one file; a larger model gets several files and an index.

    Raises:
        InputError: random numbers cannot be stored in this dtype.
    """

    def values(chunk: Chunk) -> NDArray[np.float32]:
        noise = _noise(_BASE_STREAM, seed, chunk, _WEIGHT_STD)
        return noise + np.float32(1) if chunk.entry.name.endswith("norm.weight") else noise

    fill(_create_folder(folder, shape, DType(dtype), max_shard_bytes).values(), values)


def write_fine_tune(folder: Path, base_folder: Path, *, seed: int, scale: float) -> None:
    """Write a copy of a model folder with Gaussian noise added to every weight.

    Args:
        folder: created if it does not exist.
        base_folder: a checkpoint folder of float tensors.
        seed: of the noise.
        scale: standard deviation of the noise, beside 0.02 for that of the weights.

    Raises:
        CheckpointError: the base folder is no checkpoint.
        InputError: a tensor of the base is no float of 16 bits or more.
    """
    base = read_checkpoint(base_folder)
    folder.mkdir(parents=True, exist_ok=True)
    index = [base_folder / INDEX_NAME] if len(base.files) > 1 else []
    for file in [base_folder / "config.json", *index, *base.side_files]:
        shutil.copyfile(file, folder / file.name)
    entries: dict[str, TensorEntry] = {}
    for file in base.files:
        specs = {name: entry.spec for name, entry in base.tensors.items() if entry.file == file}
        entries |= create_file(folder / file.name, specs)

    def values(chunk: Chunk) -> NDArray[np.float32]:
        noise = _noise(_DELTA_STREAM, seed, chunk, np.float32(scale))
        return noise + chunk.read(base.tensors[chunk.entry.name])

    fill(entries.values(), values)


def write_header_only(
    folder: Path, shape: LlamaShape, *, dtype: str = "BF16", max_shard_bytes: int = 4 * GIB
) -> None:
    """Write a model folder that takes no disk space: real headers, and zeros that are a hole.

    Args:
        folder: created if it does not exist.
        shape: the sizes of the model.
        dtype: header name of the stored dtype, one that torch has too.
        max_shard_bytes: data of one file; a larger model gets several files and an index.
    """
    _create_folder(folder, shape, DType(dtype), max_shard_bytes)


def _create_folder(
    folder: Path, shape: LlamaShape, dtype: DType, max_shard_bytes: int
) -> dict[str, TensorEntry]:
    folder.mkdir(parents=True, exist_ok=True)
    config = shape.config(dtype)
    generation = {name: config[name] for name in ("bos_token_id", "eos_token_id")}
    for file_name, content in (("config.json", config), ("generation_config.json", generation)):
        (folder / file_name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    write_tokenizer(folder)
    return create_files(folder, shape.tensors(dtype), max_shard_bytes=max_shard_bytes)


def _noise(stream: int, seed: int, chunk: Chunk, std: np.float32) -> NDArray[np.float32]:
    key = [stream, seed, zlib.crc32(chunk.entry.name.encode()), chunk.start]
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))
    noise = generator.standard_normal(chunk.count, dtype=np.float32)
    noise *= std
    return noise
