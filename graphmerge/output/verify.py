"""Check an output against its manifest: every file, every header, every byte of every tensor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.checkpoint.access import machine_errors, read_json_object
from graphmerge.checkpoint.header import read_header
from graphmerge.checkpoint.shards import INDEX_SUFFIX, SAFETENSORS
from graphmerge.errors import CheckpointError
from graphmerge.frozen_classes import frozen
from graphmerge.output.manifest import ManifestTensor, read_manifest
from graphmerge.output.rereading import BUFFER_BYTES, checksum_on_disk
from graphmerge.spec import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from graphmerge.checkpoint.values import TensorEntry
    from graphmerge.output.manifest import Manifest


@frozen
class VerifyReport:
    """What is wrong with an output; all tuples are empty when nothing is. Names are sorted."""

    missing_files: tuple[str, ...] = ()
    """Shards or index that should be there; their tensors are not listed again."""
    extra_files: tuple[str, ...] = ()
    """Shards or an index that a loader might take for part of the model."""
    damaged_files: tuple[str, ...] = ()
    """Shards that are truncated or have no valid header; an index that names other shards."""
    missing_tensors: tuple[str, ...] = ()
    """Tensors that their shard lacks."""
    extra_tensors: tuple[str, ...] = ()
    """Tensors in a shard that the manifest does not know."""
    changed_tensors: tuple[str, ...] = ()
    """Tensors of another dtype, shape or content."""
    read_bytes: int = 0
    """Bytes of tensor data that were read."""

    @property
    def is_intact(self) -> bool:
        """Whether the output is exactly what was written."""
        return evolve(self, read_bytes=0) == VerifyReport()


def verify(
    out: Path,
    *,
    manifest: Manifest | None = None,
    progress: Callable[[int], None] | None = None,
) -> VerifyReport:
    """Read the whole output again and compare it with its manifest.

    Args:
        out: A finished output.
        manifest: Its manifest, if it has been read already.
        progress: Called after each tensor with its size in bytes.

    Raises:
        CheckpointError: there is no manifest, or it is damaged.
        MachineError: a file cannot be read.
    """
    shards: dict[str, dict[str, ManifestTensor]] = {}
    for name, tensor in (manifest or read_manifest(out)).tensors.items():
        shards.setdefault(tensor.shard, {})[name] = tensor
    report = _compare_files(out, shards)
    for file_name in sorted(shards.keys() - set(report.missing_files)):
        report = _merge(report, _verify_shard(out, file_name, shards[file_name], progress))
    return report


def _compare_files(out: Path, shards: Mapping[str, Mapping[str, ManifestTensor]]) -> VerifyReport:
    indexes = _expected_indexes(shards)
    expected = {*shards, *indexes}
    patterns = (f"*{SAFETENSORS}", f"*{INDEX_SUFFIX}")
    folders = {(out / file).parent for file in shards} | {out}
    found = {
        path.relative_to(out).as_posix()
        for folder in folders
        for pattern in patterns
        for path in folder.glob(pattern)
    }
    damaged = (
        name for name, wanted in indexes.items() if name in found and _read(out / name) != wanted
    )
    return VerifyReport(
        missing_files=tuple(sorted(expected - found)),
        extra_files=tuple(sorted(found - expected)),
        damaged_files=tuple(sorted(damaged)),
    )


def _expected_indexes(
    shards: Mapping[str, Mapping[str, ManifestTensor]],
) -> dict[str, dict[str, str]]:
    """The weight map of every folder with several shards, by the path of its index."""
    folders: dict[str, list[str]] = {}
    for file in shards:
        folders.setdefault(_prefix(file), []).append(file)
    return {
        re.sub(r"-[0-9]+-of-[0-9]+\.safetensors$", INDEX_SUFFIX, files[0]): {
            name.removeprefix(prefix): file.removeprefix(prefix)
            for file in files
            for name in shards[file]
        }
        for prefix, files in folders.items()
        if len(files) > 1
    }


def _prefix(file: str) -> str:
    """The folder of a shard, as the names of its tensors begin: `unet/`."""
    return file[: file.rfind("/") + 1]


def _read(index: Path) -> object:
    try:
        return read_json_object(index).get("weight_map")
    except CheckpointError:
        return None


def _verify_shard(
    out: Path,
    file_name: str,
    tensors: Mapping[str, ManifestTensor],
    progress: Callable[[int], None] | None,
) -> VerifyReport:
    path = out / file_name
    try:
        stored = read_header(path).tensors
    except CheckpointError:
        return VerifyReport(damaged_files=(file_name,))
    entries = {_prefix(file_name) + name: entry for name, entry in stored.items()}
    changed, read_bytes = [], 0
    buffer = bytearray(BUFFER_BYTES)
    with machine_errors(path), path.open("rb", buffering=0) as stream:
        for name in sorted(tensors.keys() & entries.keys()):
            if not _is_unchanged(stream.fileno(), entries[name], tensors[name], buffer):
                changed.append(name)
            read_bytes += entries[name].spec.nbytes
            if progress:
                progress(entries[name].spec.nbytes)
    return VerifyReport(
        missing_tensors=tuple(sorted(tensors.keys() - entries.keys())),
        extra_tensors=tuple(sorted(entries.keys() - tensors.keys())),
        changed_tensors=tuple(changed),
        read_bytes=read_bytes,
    )


def _is_unchanged(
    descriptor: int, entry: TensorEntry, tensor: ManifestTensor, buffer: bytearray
) -> bool:
    if entry.spec != TensorSpec(tensor.shape, tensor.dtype):
        return False
    found = checksum_on_disk(descriptor, entry.offset, entry.spec, buffer=buffer)
    return found == tensor.checksum


def _merge(a: VerifyReport, b: VerifyReport) -> VerifyReport:
    return VerifyReport(
        missing_files=a.missing_files,
        extra_files=a.extra_files,
        damaged_files=a.damaged_files + b.damaged_files,
        missing_tensors=a.missing_tensors + b.missing_tensors,
        extra_tensors=a.extra_tensors + b.extra_tensors,
        changed_tensors=a.changed_tensors + b.changed_tensors,
        read_bytes=a.read_bytes + b.read_bytes,
    )
