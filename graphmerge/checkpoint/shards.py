"""Decide which safetensors files of a folder are the model, and which tensors to take from each."""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from attrs import frozen

from graphmerge.checkpoint.access import read_json_object
from graphmerge.errors import CheckpointError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

INDEX_SUFFIX = ".safetensors.index.json"
_SINGLE = "model.safetensors"
_INDEX = "model" + INDEX_SUFFIX
_NUMBERED = re.compile(r"(.*)-([0-9]+)-of-([0-9]+)\.safetensors")
_VARIANT = re.compile(
    r"(.+?)(?:\.([A-Za-z0-9_]+))?(?:-[0-9]+-of-[0-9]+)?(?:\.([A-Za-z0-9_]+))?\.safetensors"
)
"""Stem and variant of a file in a component: `model.fp16-00001-of-00002.safetensors`."""
_STEMS = ("diffusion_pytorch_model", "model")
_PICKLES = {".bin", ".pt", ".pth", ".ckpt"}
_CONVERT = (
    "convert it: AutoModelForCausalLM.from_pretrained(PATH).save_pretrained(NEW); graphmerge does "
    "not read pickles, which can run code"
)


@frozen
class Shards:
    """The weight files of one checkpoint."""

    files: tuple[Path, ...]
    """The files that hold the model, sorted by name."""
    weight_map: Mapping[str, Path] | None
    """The file of each tensor, from the index; None if every tensor of the files is meant."""
    stale: tuple[str, ...] = ()
    """Names of the other safetensors files in the folder."""


def find_shards(folder: Path) -> Shards:
    """The weight files of a folder, in the order that transformers looks for them.

    First model.safetensors, then the files of an index, then all safetensors files together.

    Raises:
        CheckpointError: no such files, or the index or the set of files is broken.
        OSError: the folder cannot be listed.
        MachineError: the index cannot be read.
    """
    names = sorted(path.name for path in folder.iterdir())
    weights = [name for name in names if name.endswith(".safetensors")]
    indexes = [name for name in names if name.endswith(INDEX_SUFFIX)]
    if _SINGLE in weights:
        shards = Shards((folder / _SINGLE,), None)
    elif indexes:
        shards = _read_index(folder / _choose_index(folder, indexes))
    elif weights:
        _refuse_incomplete(folder, weights)
        shards = Shards(tuple(folder / name for name in weights), None)
    else:
        raise CheckpointError(_nothing_found(folder, names))
    used = {str(file.relative_to(folder)) for file in shards.files}
    stale = tuple(name for name in weights if name not in used)
    return Shards(shards.files, shards.weight_map, stale)


def find_component_shards(folder: Path) -> tuple[str, Shards]:
    """The weight files of a component, and what their names begin with.

    Files without a variant come first; a variant (`model.fp16.safetensors`) counts if it is the
    only one there is.

    Raises:
        CheckpointError: no such files, several variants, or a broken index or set of files.
        OSError: the folder cannot be listed.
        MachineError: the index cannot be read.
    """
    names = sorted(path.name for path in folder.iterdir())
    weights = {n: (m[1], m[2] or m[3] or "") for n in names if (m := _VARIANT.fullmatch(n))}
    if not weights:
        raise CheckpointError(_nothing_found(folder, names))
    stems = {stem for stem, _ in weights.values()}
    stem = next((known for known in _STEMS if known in stems), min(stems))
    variants = sorted({variant for found, variant in weights.values() if found == stem})
    if variants[0] and len(variants) > 1:
        wanted = "one variant, or files without any"
        raise CheckpointError(Problem("several variants", str(folder), ", ".join(variants), wanted))
    chosen = [name for name, found in weights.items() if found == (stem, variants[0])]
    dotted = f".{variants[0]}" if variants[0] else ""
    indexes = [f"{stem}.safetensors.index{dotted}.json", f"{stem}{dotted}{INDEX_SUFFIX}"]
    index = next((name for name in indexes if name in names), None)
    if f"{stem}{dotted}.safetensors" in chosen:
        return stem, Shards((folder / f"{stem}{dotted}.safetensors",), None)
    if index:
        return stem, _read_index(folder / index)
    _refuse_incomplete(folder, chosen)
    return stem, Shards(tuple(folder / name for name in chosen), None)


def _choose_index(folder: Path, indexes: Sequence[str]) -> str:
    if _INDEX in indexes:
        return _INDEX
    if len(indexes) > 1:
        wanted = f"one, or {_INDEX}"
        raise CheckpointError(Problem("several indexes", str(folder), ", ".join(indexes), wanted))
    return indexes[0]


def _read_index(index: Path) -> Shards:
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        wanted = "file names by tensor name"
        raise CheckpointError(Problem("no weight_map in the index", str(index), wanted=wanted))
    names = sorted(set(map(str, weight_map.values())))
    problems = list(_index_problems(index, names))
    if problems:
        raise CheckpointError(*problems)
    files = {name: index.parent / name for name in names}
    places = {tensor: files[name] for tensor, name in weight_map.items()}
    return Shards(tuple(sorted(set(files.values()))), places)


def _index_problems(index: Path, names: Iterable[str]) -> Iterator[Problem]:
    for name in names:
        path = PureWindowsPath(name)  # understands the separators of every system
        if not name.endswith(".safetensors"):
            yield Problem("not a safetensors file in the index", str(index), ascii(name))
        elif path.anchor or ".." in path.parts:
            wanted = "a file inside the folder"
            yield Problem("the index leaves its folder", str(index), ascii(name), wanted)
        elif not (index.parent / name).is_file():
            hint = "download the whole model again"
            yield Problem("missing shard", str(index.parent / name), hint=hint)


def _refuse_incomplete(folder: Path, weights: Sequence[str]) -> None:
    """Refuse `model-00001-of-00003.safetensors` without its siblings: half a model is none."""
    matches = [match for match in map(_NUMBERED.fullmatch, weights) if match]
    problems = []
    for stem, total in sorted({(match[1], match[3]) for match in matches}):
        present = {int(match[2]) for match in matches if (match[1], match[3]) == (stem, total)}
        missing = int(total) - len(present)
        if missing > 0:
            where = str(folder / f"{stem}-*-of-{total}.safetensors")
            problems.append(Problem(f"{missing} of {int(total)} shards are missing", where))
    if problems:
        raise CheckpointError(*problems)


def _nothing_found(folder: Path, names: Sequence[str]) -> Problem:
    pickles = [name for name in names if Path(name).suffix in _PICKLES]
    if pickles:
        return Problem("only torch pickles", str(folder), _listed(pickles), hint=_CONVERT)
    return Problem("no safetensors files", str(folder), _listed(names) or "an empty folder")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
