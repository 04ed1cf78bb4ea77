"""A cheap identity of a checkpoint: equal fingerprints mean that nobody has touched its files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import xxhash

from graphmerge.checkpoint.access import machine_errors
from graphmerge.checkpoint.header import read_header_bytes
from graphmerge.checkpoint.shards import SAFETENSORS
from graphmerge.checkpoint.stamps import stamp

if TYPE_CHECKING:
    from pathlib import Path

    from graphmerge.checkpoint.values import Checkpoint


def fingerprint(checkpoint: Checkpoint) -> str:
    """Hash of headers, index, config, and of the names, sizes and modification times of all files.

    No tensor data is read. A copy of the folder has another fingerprint unless the copy keeps the
    modification times; where the folder lies makes no difference. What is of the Hub is known by
    the commit instead of sizes and times.

    Raises:
        CheckpointError: a weight file is no longer a safetensors file.
        MachineError: a file cannot be read.
    """
    digest = xxhash.xxh3_64()
    digest.update(json.dumps(dict(checkpoint.config), sort_keys=True).encode())
    places = {name: entry.file.name for name, entry in checkpoint.tensors.items()}
    digest.update(json.dumps(places).encode())
    if checkpoint.origin:
        digest.update(checkpoint.origin.commit.encode())
    for file in (*checkpoint.files, *checkpoint.side_files):
        if checkpoint.origin is None or not file.is_relative_to(checkpoint.origin.folder):
            digest.update(_identity(file))
    for file in checkpoint.files:
        if file.suffix == SAFETENSORS:  # others are known by size and time alone
            digest.update(read_header_bytes(file))
    return digest.hexdigest()


def _identity(file: Path) -> bytes:
    with machine_errors(file):
        return json.dumps([file.name, *stamp(file)]).encode()
