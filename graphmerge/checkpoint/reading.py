"""Read the headers of a model folder or file into one checkpoint; no weight is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from graphmerge.checkpoint.access import machine_errors, read_optional_object
from graphmerge.checkpoint.components import component_folders, component_side_files
from graphmerge.checkpoint.name_set import natural_name_set
from graphmerge.checkpoint.names import natural_sorted
from graphmerge.checkpoint.shards import (
    SAFETENSORS,
    TORCH_SUFFIXES,
    Shards,
    find_component_shards,
    find_shards,
)
from graphmerge.checkpoint.side_files import find_side_files
from graphmerge.checkpoint.stamps import stamp
from graphmerge.checkpoint.values import Checkpoint, Component, TensorEntry
from graphmerge.checkpoint.weight_file import read_weight_file
from graphmerge.errors import CheckpointError, Problem
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, KeysView, Mapping, Sequence
    from pathlib import Path

    from graphmerge.checkpoint.header_columns import Columns
    from graphmerge.checkpoint.shards import Listing

_MAX_LISTED = 10
"""Tensors named in one message; a wrong index may lack thousands."""
_READERS: dict[str, Callable[[Path], Checkpoint]] = {}
"""Readers of other formats, by the end of the file's name."""


def register_reader(suffix: str, reader: Callable[[Path], Checkpoint]) -> None:
    """Make a format known. Raises CheckpointError where the suffix is taken."""
    if suffix == SAFETENSORS or suffix in TORCH_SUFFIXES or suffix in _READERS:
        raise CheckpointError(Problem("these files have a reader already", got=suffix))
    _READERS[suffix] = reader


def has_reader(suffix: str) -> bool:
    """Whether a reader of files that end so is registered."""
    return suffix in _READERS


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint from its headers and JSON files.

    Args:
        path: a folder with model.safetensors, with an index and its shards, or with any safetensors
            files, or with the same as torch files; a diffusers or sentence-transformers folder of
            several components; or one such file (config.json and side files are those beside it).
            Or a file, or a folder with a single file, of a format that a plug-in reads.

    Raises:
        CheckpointError: there is no checkpoint there, or it is corrupt or incomplete.
        MachineError: a file cannot be read.
    """
    with machine_errors(path):
        found = _read_any(path)
        return evolve(found, stamps=tuple(map(stamp, found.files)))


def _read_any(path: Path) -> Checkpoint:
    """A checkpoint of any format that is known."""
    other = _other_format(path)
    if other is not None:
        return _READERS[other.suffix](other)
    folders = component_folders(path) if path.is_dir() else ()
    if folders:
        return _read_components(path, folders)
    if path.is_dir():
        return _read(path, path, find_shards(path))
    if path.is_file() and path.suffix in (SAFETENSORS, *TORCH_SUFFIXES):
        return _read(path, path.parent, Shards((path,), None))
    what = "not a safetensors or torch file" if path.exists() else "no such model"
    wanted = "a model folder, or a file ending in .safetensors, .bin, .pt or .pth"
    raise CheckpointError(Problem(what, where=str(path), wanted=wanted))


def _other_format(path: Path) -> Path | None:
    """The file that a plug-in's reader is for."""
    if not _READERS or not path.is_dir():
        return path if path.suffix in _READERS and path.is_file() else None
    files = sorted(file for file in path.iterdir() if file.suffix in (*_READERS, SAFETENSORS))
    return files[0] if len(files) == 1 and files[0].suffix in _READERS else None


@frozen(eq=False)
class _Stored:
    """What the weight files of a folder hold."""

    tensors: Mapping[str, TensorEntry]
    """The tensors of the model, by name."""
    unlisted: tuple[str, ...]
    """`file: tensor` for what the index leaves out, and for what is no tensor."""
    notes: tuple[str, ...]
    """What the user should know of how the files were understood."""
    shared: tuple[Columns | Listing | None, ...]
    """What other checkpoints may have as well: the index, then the header of every file."""


def _read_shards(shards: Shards) -> _Stored:
    read = {file: read_weight_file(file) for file in shards.files}
    stored = {file: found.tensors for file, found in read.items()}
    tensors, unlisted = _select(stored, shards.listed)
    return _Stored(
        tensors,
        unlisted + tuple(key for found in read.values() for key in found.left_out),
        tuple(note for found in read.values() for note in found.notes),
        (shards.listing, *(found.columns for found in read.values())),
    )


def _read(path: Path, folder: Path, shards: Shards) -> Checkpoint:
    found = _read_shards(shards)
    return Checkpoint(
        path=path,
        tensors=_ordered(found.tensors),
        config=read_optional_object(folder / "config.json"),
        files=shards.files,
        side_files=find_side_files(folder),
        unlisted=shards.stale + found.unlisted,
        notes=found.notes,
        shared=found.shared,
    )


def _read_components(path: Path, folders: Sequence[str]) -> Checkpoint:
    """A model of several components, their tensors named after their folders."""
    parts: dict[Component, _Stored] = {}
    files: list[Path] = []
    config: dict[str, Any] = {}
    for folder in folders:
        stem, shards = find_component_shards(path / folder)
        parts[Component(folder, stem)] = _read_shards(shards)
        files += shards.files
        own = read_optional_object(path / folder / "config.json")
        config |= {folder: dict(own)} if folder else own
    side_files, other_weights = component_side_files(path, folders, files)
    tensors = {
        one.prefix + name: evolve(entry, name=one.prefix + name)
        for one, found in parts.items()
        for name, entry in found.tensors.items()
    }
    unlisted = (one.path(text) for one, found in parts.items() for text in found.unlisted)
    return Checkpoint(
        path=path,
        tensors=_ordered(tensors),
        config=config,
        files=tuple(files),
        side_files=side_files,
        unlisted=(*other_weights, *unlisted),
        components=tuple(parts),
        notes=tuple(one.path(text) for one, found in parts.items() for text in found.notes),
        shared=tuple(one for found in parts.values() for one in found.shared),
    )


def _ordered(tensors: Mapping[str, TensorEntry]) -> dict[str, TensorEntry]:
    return {name: tensors[name] for name in natural_name_set(tensors).names}


def _select(
    stored: Mapping[Path, Mapping[str, TensorEntry]],
    listed: Mapping[Path, KeysView[str]] | None,
) -> tuple[dict[str, TensorEntry], tuple[str, ...]]:
    """The tensors of the model, and `file: tensor` for those that the index leaves out."""
    if listed is None:
        return _union(stored), ()
    if all(stored[file].keys() == names for file, names in listed.items()):
        return {name: tensor for own in stored.values() for name, tensor in own.items()}, ()
    lacking = {
        file: [name for name in names if name not in stored[file]] for file, names in listed.items()
    }
    if any(lacking.values()):
        found = ((file, names) for file, names in sorted(lacking.items()) if names)
        raise CheckpointError(*(_lacks(file, names) for file, names in found))
    unlisted = [
        f"{file.name}: {name}"
        for file, entries in stored.items()
        for name in natural_sorted(entries.keys() - listed[file])
    ]
    chosen = {name: stored[file][name] for file, names in listed.items() for name in names}
    return chosen, tuple(unlisted)


def _union(stored: Mapping[Path, Mapping[str, TensorEntry]]) -> dict[str, TensorEntry]:
    tensors: dict[str, TensorEntry] = {}
    problems = []
    for file, entries in stored.items():
        for name in tensors.keys() & entries.keys():
            where, got = str(file), f"{tensors[name].file.name} has it too"
            problems.append(Problem(f"tensor {name!r} in two files", where, got))
        tensors |= entries
    if problems:
        hint = "remove the files of the other model, or name one file"
        more = [Problem(f"{len(problems)} tensors in two files", hint=hint)]
        raise CheckpointError(*sorted(problems, key=str)[:_MAX_LISTED], *more)
    return tensors


def _lacks(file: Path, names: list[str]) -> Problem:
    shown = ", ".join(natural_sorted(names)[:_MAX_LISTED])
    what = f"{len(names)} tensors of the index are not in their file"
    return Problem(what, str(file), shown + (", ..." if len(names) > _MAX_LISTED else ""))
