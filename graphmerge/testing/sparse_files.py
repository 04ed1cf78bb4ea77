"""Safetensors files of the right layout whose data is still a hole in the disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from graphmerge.checkpoint.values import TensorEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from graphmerge.spec import TensorSpec

INDEX_NAME = "model.safetensors.index.json"


def create_files(
    folder: Path, specs: Mapping[str, TensorSpec], *, max_shard_bytes: int
) -> dict[str, TensorEntry]:
    """Create the safetensors files of a checkpoint, with all data zero.

    The data takes no space on a file system with sparse files until something is written there.

    Args:
        folder: where to create them; exists.
        specs: every tensor by name, in the order of the files.
        max_shard_bytes: data of one file; a tensor larger than this has a file of its own.

    Returns:
        Where each tensor is to be written.
    """
    shards = list(_shards(specs, max_shard_bytes))
    entries: dict[str, TensorEntry] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}" if len(shards) > 1 else "model"
        entries.update(create_file(folder / f"{name}.safetensors", shard))
    if len(shards) > 1:
        total_size = sum(spec.nbytes for spec in specs.values())
        weight_map = {name: entry.file.name for name, entry in entries.items()}
        index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
        (folder / INDEX_NAME).write_text(json.dumps(index, indent=2), encoding="utf-8")
    return entries


def create_file(file: Path, specs: Mapping[str, TensorSpec]) -> dict[str, TensorEntry]:
    """Create one safetensors file, with all data zero."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begins: dict[str, int] = {}
    end = 0
    for name, spec in specs.items():
        begins[name], end = end, end + spec.nbytes
        header[name] = {
            "dtype": spec.dtype.value,
            "shape": spec.shape,
            "data_offsets": [begins[name], end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data_start = 8 + len(text)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(data_start + end)
    return {
        name: TensorEntry(name, specs[name], file, data_start + begin)
        for name, begin in begins.items()
    }


def _shards(
    specs: Mapping[str, TensorSpec], max_shard_bytes: int
) -> Iterator[dict[str, TensorSpec]]:
    shard: dict[str, TensorSpec] = {}
    shard_bytes = 0
    for name, spec in specs.items():
        if shard and shard_bytes + spec.nbytes > max_shard_bytes:
            yield shard
            shard, shard_bytes = {}, 0
        shard[name] = spec
        shard_bytes += spec.nbytes
    yield shard
