"""Decide which files of a folder are the model, and which tensors to take from each."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from attrs import evolve

from graphmerge.checkpoint.access import parse_json_object, read_bytes
from graphmerge.errors import CheckpointError, Problem, some
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence

SAFETENSORS = ".safetensors"
"""End of the names of safetensors files."""
INDEX_SUFFIX = SAFETENSORS + ".index.json"
"""End of the name of the file that says which safetensors file has which tensor."""
_SINGLE = "model.safetensors"
_INDEX = "model" + INDEX_SUFFIX
_NUMBERED = re.compile(r"(.*)-([0-9]+)-of-([0-9]+)(\.safetensors|\.bin|\.pth?)")
_TORCH_NUMBERED = re.compile(r".*-[0-9]+-of-[0-9]+\.(bin|pth?)|consolidated\.[0-9]+\.pth")
_VARIANT = re.compile(
    r"(.+?)(?:\.([A-Za-z0-9_]+))?(?:-[0-9]+-of-[0-9]+)?(?:\.([A-Za-z0-9_]+))?(\.safetensors|\.bin)"
)
"""Stem, variant and end of a file in a component: `model.fp16-00001-of-00002.safetensors`."""
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_WRITTEN_STEMS = {"pytorch_model": "model"}
"""What safetensors files are called where torch files have a name of their own."""
TORCH_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt"})
"""Ends of the names of files that torch.save writes."""
_TORCH_SINGLE = "pytorch_model.bin"
_TORCH_INDEX = _TORCH_SINGLE + ".index.json"
_TRAINING = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state|random_states).*")
"""Torch files beside a model that are no weights."""
_AGAIN = "download the whole model again"


@frozen(eq=False)
class Listing:
    """The index of a checkpoint: indexes of the same bytes have the same one."""

    by_file: Mapping[str, KeysView[str]]
    """Names of tensors, by the name of the file that they are in."""


_read: WeakValueDictionary[bytes, Listing] = WeakValueDictionary()
"""The indexes of checkpoints that are in use, by digest."""


@frozen
class Shards:
    """The weight files of one checkpoint."""

    files: tuple[Path, ...]
    """The files that hold the model, sorted by name."""
    listing: Listing | None
    """What the index says; None if every tensor of the files is meant."""
    stale: tuple[str, ...] = ()
    """Names of the other weight files in the folder."""
    folder: Path = Path()
    """Where the index is."""

    @property
    def listed(self) -> Mapping[Path, KeysView[str]] | None:
        """The tensors of each file by the index; None if there is none."""
        if self.listing is None:
            return None
        return {self.folder / name: found for name, found in self.listing.by_file.items()}


def find_shards(folder: Path) -> Shards:
    """The weight files of a folder, in the order that transformers looks for them.

    First model.safetensors, then the files of an index, then all safetensors files together; where
    there are none, the same for pytorch_model.bin and its index, or the only torch file, or all
    numbered ones.

    Raises:
        CheckpointError: no such files, or the index or the set of files is broken.
        OSError: the folder cannot be listed.
        MachineError: the index cannot be read.
    """
    names = sorted(path.name for path in folder.iterdir())
    weights = [name for name in names if name.endswith(SAFETENSORS)]
    indexes = [name for name in names if name.endswith(INDEX_SUFFIX)]
    torch_files = [name for name in names if _is_torch_weights(name)]
    if _SINGLE in weights:
        shards = Shards((folder / _SINGLE,), None)
    elif indexes:
        shards = _read_index(folder / _choose_index(folder, indexes))
    elif weights:
        _refuse_incomplete(folder, weights)
        shards = Shards(tuple(folder / name for name in weights), None)
    else:
        shards = _find_torch(folder, names, torch_files)
    used = {str(file.relative_to(folder)) for file in shards.files}
    stale = tuple(name for name in (*weights, *torch_files) if name not in used)
    return evolve(shards, stale=stale)


def find_component_shards(folder: Path) -> tuple[str, Shards]:
    """The weight files of a component, and what the names of those that are written begin with.

    Safetensors files come before torch files, and files without a variant before others; a variant
    (`model.fp16.safetensors`) counts if it is the only one there is.

    Raises:
        CheckpointError: no such files, several variants, or a broken index or set of files.
        OSError: the folder cannot be listed.
        MachineError: the index cannot be read.
    """
    names = sorted(path.name for path in folder.iterdir())
    matches = [match for match in map(_VARIANT.fullmatch, names) if match]
    matches = [match for match in matches if not _TRAINING.fullmatch(match[0])]
    if not matches:
        raise CheckpointError(_nothing_found(folder, names))
    end = max(match[4] for match in matches)  # .safetensors, if there are any
    weights = {m[0]: (m[1], m[2] or m[3] or "") for m in matches if m[4] == end}
    stems = {stem for stem, _ in weights.values()}
    stem = next((known for known in _STEMS if known in stems), min(stems))
    variants = sorted({variant for found, variant in weights.values() if found == stem})
    if variants[0] and len(variants) > 1:
        wanted = "one variant, or files without any"
        raise CheckpointError(Problem("several variants", str(folder), ", ".join(variants), wanted))
    chosen = [name for name, found in weights.items() if found == (stem, variants[0])]
    dotted = f".{variants[0]}" if variants[0] else ""
    indexes = [f"{stem}{end}.index{dotted}.json", f"{stem}{dotted}{end}.index.json"]
    index = next((name for name in indexes if name in names), None)
    if f"{stem}{dotted}{end}" in chosen:
        shards = Shards((folder / f"{stem}{dotted}{end}",), None)
    elif index:
        shards = _read_index(folder / index)
    else:
        _refuse_incomplete(folder, chosen)
        shards = Shards(tuple(folder / name for name in chosen), None)
    return _WRITTEN_STEMS.get(stem, stem), shards


def _is_torch_weights(name: str) -> bool:
    return Path(name).suffix in TORCH_SUFFIXES and not _TRAINING.fullmatch(name)


def _find_torch(folder: Path, names: Sequence[str], files: Sequence[str]) -> Shards:
    """The torch files that are the model, where there are no safetensors files."""
    if _TORCH_SINGLE in files:
        return Shards((folder / _TORCH_SINGLE,), None)
    if _TORCH_INDEX in names:
        return _read_index(folder / _TORCH_INDEX)
    if not files:
        raise CheckpointError(_nothing_found(folder, names))
    numbered = all(_TORCH_NUMBERED.fullmatch(name) for name in files)
    if len(files) > 1 and not numbered:
        what, hint = "several torch files", "name the file that is the model"
        raise CheckpointError(Problem(what, str(folder), some(files, most=10), "one", hint))
    _refuse_incomplete(folder, files)
    return Shards(tuple(folder / name for name in files), None)


def _choose_index(folder: Path, indexes: Sequence[str]) -> str:
    if _INDEX in indexes:
        return _INDEX
    if len(indexes) > 1:
        wanted = f"one, or {_INDEX}"
        raise CheckpointError(Problem("several indexes", str(folder), ", ".join(indexes), wanted))
    return indexes[0]


def _read_index(index: Path) -> Shards:
    data = read_bytes(index)
    digest = hashlib.sha256(data).digest()
    listing = _read.get(digest)
    if listing is None:
        listing = _read[digest] = _parse_index(data, index)
    names = sorted(listing.by_file)
    problems = list(_index_problems(index, names))
    if problems:
        raise CheckpointError(*problems)
    files = tuple(sorted(index.parent / name for name in names))
    return Shards(files, listing, folder=index.parent)


def _parse_index(data: bytes, index: Path) -> Listing:
    weight_map = parse_json_object(data, index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        wanted = "file names by tensor name"
        raise CheckpointError(Problem("no weight_map in the index", str(index), wanted=wanted))
    by_file: dict[str, dict[str, None]] = {}
    for tensor, name in weight_map.items():
        by_file.setdefault(str(name), {})[tensor] = None
    return Listing({name: found.keys() for name, found in by_file.items()})


def _index_problems(index: Path, names: Iterable[str]) -> Iterator[Problem]:
    is_torch = ".bin.index." in index.name
    kind, suffixes = ("torch", TORCH_SUFFIXES) if is_torch else ("safetensors", {SAFETENSORS})
    for name in names:
        path = PureWindowsPath(name)  # understands the separators of every system
        if path.suffix not in suffixes:
            yield Problem(f"not a {kind} file in the index", str(index), ascii(name))
        elif path.anchor or ".." in path.parts:
            wanted = "a file inside the folder"
            yield Problem("the index leaves its folder", str(index), ascii(name), wanted)
        elif not (index.parent / name).is_file():
            yield Problem("missing shard", str(index.parent / name), hint=_AGAIN)


def _refuse_incomplete(folder: Path, weights: Sequence[str]) -> None:
    """Refuse `model-00001-of-00003.safetensors` without its siblings: half a model is none."""
    matches = [match for match in map(_NUMBERED.fullmatch, weights) if match]
    problems = []
    for stem, total, end in sorted({(match[1], match[3], match[4]) for match in matches}):
        present = {int(match[2]) for match in matches if match.group(1, 3) == (stem, total)}
        missing = int(total) - len(present)
        if missing > 0:
            where = str(folder / f"{stem}-*-of-{total}{end}")
            what = f"{missing} of {int(total)} shards are missing"
            problems.append(Problem(what, where, hint=_AGAIN))
    if problems:
        raise CheckpointError(*problems)


def _nothing_found(folder: Path, names: Sequence[str]) -> Problem:
    return Problem(
        "no safetensors or torch files", str(folder), some(names, most=10) or "an empty folder"
    )
