"""Read the directory of a torch file (.bin, .pt, .pth): which tensors it has, and where.

Such a file is a zip of uncompressed records: `NAME/data.pkl` describes the tensors, `NAME/data/KEY`
holds the bytes of one storage, from which tensors are cut.
"""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

from graphmerge.checkpoint.access import COPY_AGAIN, open_file
from graphmerge.checkpoint.header_columns import MAX_AXES, MAX_LENGTH
from graphmerge.checkpoint.torch_pickle import (
    CONVERT,
    PickledStorage,
    PickledTensor,
    load_pickle,
)
from graphmerge.checkpoint.values import StoredFile, TensorEntry
from graphmerge.errors import CheckpointError, Problem, shortened
from graphmerge.spec import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""A pickle of the number 0x1950a86a20f9469cfc6c, with which torch wrote files before 1.6."""
_LITTLE = b"little"
_LOCAL_HEADER_BYTES = 30
_MAX_PICKLE_BYTES = 100_000_000
_MAX_PROBLEMS = 10
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which training scripts store the weights."""


def read_torch_file(path: Path) -> StoredFile:
    """The tensors of a torch file; no code of its pickle runs, and torch is not imported.

    Raises:
        CheckpointError: the file is corrupt, of another format, asks for more than tensors and
            plain values, or has tensors that are not stored row by row; up to ten problems.
        MachineError: the file cannot be read.
    """
    with open_file(path) as stream:
        _require_zip(path, stream.read(len(_LEGACY_MAGIC)))
        try:
            with zipfile.ZipFile(stream) as archive:
                return _Records(path, stream, archive).read()
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            EOFError,
            RuntimeError,
            zlib.error,
        ) as error:
            what = "truncated or corrupt torch file"
            raise CheckpointError(Problem(what, str(path), str(error), hint=COPY_AGAIN)) from error


def _require_zip(path: Path, head: bytes) -> None:
    if head.startswith(_ZIP_MAGIC):
        return
    if head == _LEGACY_MAGIC:
        what = "torch file of the format before torch 1.6, which cannot be read lazily"
        raise CheckpointError(Problem(what, str(path), hint=CONVERT))
    wanted = "a zip, as torch.save writes it"
    raise CheckpointError(Problem("not a torch file", str(path), ascii(head[:8]), wanted))


class _Records:
    """The records of one zip."""

    def __init__(self, path: Path, stream: BinaryIO, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._stream = stream
        self._archive = archive
        self._infos = {info.filename: info for info in archive.infolist()}
        self._places: dict[str, tuple[int, int]] = {}
        self._file_bytes = path.stat().st_size
        pickles = [name for name in self._infos if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            got = f"{len(pickles)} records NAME/data.pkl"
            raise CheckpointError(Problem("not a torch file", str(path), got, "one"))
        self._root = pickles[0].removesuffix("data.pkl")

    def read(self) -> StoredFile:
        """What the pickle says of the tensors, and where their records are.

        Raises:
            CheckpointError: the file is of another byte order, corrupt, or holds no tensors.
        """
        order = self._infos.get(self._root + "byteorder")
        if order and (order.file_size != len(_LITTLE) or self._archive.read(order) != _LITTLE):
            what = "the file was written by a big-endian machine"
            raise CheckpointError(Problem(what, str(self._path), hint=CONVERT))
        record = self._infos[self._root + "data.pkl"]
        if record.file_size > _MAX_PICKLE_BYTES:
            got, wanted = f"{record.file_size} bytes", f"at most {_MAX_PICKLE_BYTES}"
            raise CheckpointError(Problem("pickle too long", str(self._path), got, wanted))
        found = load_pickle(self._archive.read(record), self._path)
        content, notes = _unwrapped(found, self._path)
        return self._stored(content, notes)

    def _stored(self, content: Mapping[Any, Any], notes: tuple[str, ...]) -> StoredFile:
        tensors: dict[str, TensorEntry] = {}
        left_out: list[str] = []
        problems: list[Problem] = []
        for name, value in content.items():
            if not isinstance(value, PickledTensor) or not isinstance(name, str):
                left_out.append(f"{self._path.name}: {name!s:.80} ({type(value).__name__})")
                continue
            try:
                tensors[name] = self._entry(name, value)
            except CheckpointError as error:
                problems += error.problems
        if problems:
            raise CheckpointError(*shortened(problems, most=_MAX_PROBLEMS))
        return StoredFile(tensors, tuple(left_out), notes)

    def _entry(self, name: str, tensor: PickledTensor) -> TensorEntry:
        where = f"{self._path}: {name!a}"
        storage, shape, strides = tensor.storage, tensor.shape, tensor.strides
        if (
            not isinstance(storage, PickledStorage)
            or not (_are_sizes(shape) and _are_sizes(strides) and _are_sizes((tensor.start,)))
            or len(shape) != len(strides)
        ):
            raise CheckpointError(Problem("invalid tensor", where, wanted="a storage and sizes"))
        if not _is_contiguous(shape, strides):
            what, got = "the tensor is not stored row by row", f"strides {list(strides)}"
            raise CheckpointError(Problem(what, where, got, hint=CONVERT))
        spec = TensorSpec(tuple(shape), tensor.dtype or storage.dtype)
        place, stored_bytes = self._place(storage.key, where)
        begin = tensor.start * spec.dtype.bits // 8
        if spec.nbytes and begin + spec.nbytes > stored_bytes:
            got, wanted = f"{stored_bytes} bytes", f"{begin + spec.nbytes}"
            raise CheckpointError(Problem("the storage is too short", where, got, wanted))
        return TensorEntry(name, spec, self._path, place + begin)

    def _place(self, key: str, where: str) -> tuple[int, int]:
        """First byte and length of a storage's record."""
        known = self._places.get(key)
        if known is None:
            known = self._places[key] = self._find(key, where)
        return known

    def _find(self, key: str, where: str) -> tuple[int, int]:
        info = self._infos.get(f"{self._root}data/{key}")
        if info is None:
            raise CheckpointError(
                Problem(f"storage {key!a} is not in the file", where, hint=COPY_AGAIN)
            )
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            what = f"storage {key!a} is compressed or encrypted"
            raise CheckpointError(Problem(what, where, hint=CONVERT))
        self._stream.seek(info.header_offset)
        header = self._stream.read(_LOCAL_HEADER_BYTES)
        if len(header) < _LOCAL_HEADER_BYTES or not header.startswith(_ZIP_MAGIC):
            raise CheckpointError(
                Problem(f"corrupt zip at storage {key!a}", where, hint=COPY_AGAIN)
            )
        names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        begin = info.header_offset + _LOCAL_HEADER_BYTES + names
        if begin + info.file_size > self._file_bytes:
            what, wanted = f"truncated file at storage {key!a}", f"{begin + info.file_size} bytes"
            raise CheckpointError(
                Problem(what, where, f"{self._file_bytes} bytes", wanted, COPY_AGAIN)
            )
        return begin, info.file_size


def _unwrapped(found: object, path: Path) -> tuple[Mapping[Any, Any], tuple[str, ...]]:
    """The dict of tensors, and notes on where it was and what was beside it."""
    notes: list[str] = []
    while isinstance(found, dict) and not _has_tensors(found):
        key = next((key for key in _WRAPPERS if isinstance(found.get(key), dict)), None)
        if key is None or len(notes) > len(_WRAPPERS):
            break
        beside = ", ".join(f"{name!s:.40}" for name in list(found)[:10] if name != key)
        rest = f"; left out: {beside}" if beside else ""
        notes.append(f"{path.name}: the tensors are those under {key!r}{rest}")
        found = found[key]
    if not isinstance(found, dict) or not _has_tensors(found):
        got = f"{type(found).__name__} without tensors"
        raise CheckpointError(Problem("no state dict", str(path), got, "tensors by name"))
    return found, tuple(notes)


def _has_tensors(found: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, PickledTensor) for value in found.values())


def _are_sizes(values: Any) -> bool:
    if not isinstance(values, (tuple, list)) or len(values) > MAX_AXES:
        return False
    return all(type(value) is int and 0 <= value <= MAX_LENGTH for value in values)


def _is_contiguous(shape: Any, strides: Any) -> bool:
    """Whether elements follow each other row by row; steps of axes of one element do not count."""
    if 0 in shape:
        return True
    step = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != step:
            return False
        step *= length
    return True
