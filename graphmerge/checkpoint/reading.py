"""Read the headers of a model folder or file into one checkpoint; no weight is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from graphmerge.checkpoint.access import machine_errors, read_json_object
from graphmerge.checkpoint.components import component_folders, component_side_files
from graphmerge.checkpoint.name_set import natural_name_set
from graphmerge.checkpoint.names import natural_sorted
from graphmerge.checkpoint.shards import TORCH_SUFFIXES, Shards, find_component_shards, find_shards
from graphmerge.checkpoint.side_files import find_side_files
from graphmerge.checkpoint.values import Checkpoint, Component, TensorEntry
from graphmerge.checkpoint.weight_file import read_weight_file
from graphmerge.errors import CheckpointError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, KeysView, Mapping, Sequence
    from pathlib import Path

_MAX_LISTED = 10
"""Tensors named in one message; a wrong index may lack thousands."""


SAFETENSORS = ".safetensors"
"""End of the names of the files that are read here."""
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


def _read(path: Path, folder: Path, shards: Shards) -> Checkpoint:
    read = {file: read_weight_file(file) for file in shards.files}
    stored = {file: found.tensors for file, found in read.items()}
    left_out = tuple(key for found in read.values() for key in found.left_out)
    tensors, unlisted = _select(stored, shards.listed)
    config = folder / "config.json"
    ordered = natural_name_set(tensors)
    return Checkpoint(
        path=path,
        tensors={name: tensors[name] for name in ordered.names},
        config=read_json_object(config) if config.exists() else {},
        files=shards.files,
        side_files=find_side_files(folder),
        unlisted=shards.stale + unlisted + left_out,
        notes=tuple(note for found in read.values() for note in found.notes),
        shared=(shards.listing, *(found.columns for found in read.values())),
    )


def _read_components(path: Path, folders: Sequence[str]) -> Checkpoint:
    """A model of several components, their tensors named after their folders."""
    tensors: dict[str, TensorEntry] = {}
    config: dict[str, Any] = {}
    components: list[Component] = []
    files: list[Path] = []
    unlisted: list[str] = []
    notes: list[str] = []
    for folder in folders:
        stem, shards = find_component_shards(path / folder)
        one = Component(folder, stem)
        read = {file: read_weight_file(file) for file in shards.files}
        stored = {file: one_file.tensors for file, one_file in read.items()}
        found, left_out = _select(stored, shards.listed)
        for name, entry in found.items():
            tensors[one.prefix + name] = evolve(entry, name=one.prefix + name)
        components.append(one)
        files += shards.files
        beside = (key for one_file in read.values() for key in one_file.left_out)
        unlisted += [one.path(name) for name in (*left_out, *beside)]
        notes += [one.path(note) for one_file in read.values() for note in one_file.notes]
        own = path / folder / "config.json"
        own_config = read_json_object(own) if own.exists() else {}
        config |= {folder: dict(own_config)} if folder else own_config
    side_files, other_weights = component_side_files(path, folders, files)
    return Checkpoint(
        path=path,
        tensors={name: tensors[name] for name in natural_sorted(tensors)},
        config=config,
        files=tuple(files),
        side_files=side_files,
        unlisted=(*other_weights, *unlisted),
        components=tuple(components),
        notes=tuple(notes),
    )


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
