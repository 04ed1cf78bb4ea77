"""Check what a header says of its tensors: each by itself, then their byte ranges together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from attrs import frozen

from graphmerge.errors import Problem
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_DTYPES = {dtype.value: dtype for dtype in DType}
_MAX_AXES = 64
"""The limit of torch and numpy."""
_MAX_LENGTH = 2**63 - 1
"""The longest axis, and the largest offset, that torch, numpy and files can have."""


@frozen
class RawEntry:
    """A header entry that is sound by itself."""

    name: str
    """Name of the tensor."""
    spec: TensorSpec
    """Shape and stored dtype."""
    begin: int
    """First byte, counted from the start of the data section."""
    end: int
    """One past the last byte."""


def parse_entry(name: str, value: Any, file: Path) -> RawEntry | Problem:
    """The entry of one tensor, or what is wrong with it."""
    where = f"{file}: {name!a}"
    if not isinstance(value, dict):
        return Problem("not a tensor entry", where, type(value).__name__, "a JSON object")
    dtype_name, shape = value.get("dtype"), value.get("shape")
    dtype = _DTYPES.get(dtype_name) if isinstance(dtype_name, str) else None
    if dtype is None:
        return Problem("unknown dtype", where, ascii(dtype_name), f"one of {', '.join(_DTYPES)}")
    if not _is_shape(shape):
        return Problem("invalid shape", where, _short(shape), "lengths from 0 on, 64 at most")
    offsets = value.get("data_offsets")
    if not _is_list_of_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        return Problem("invalid data_offsets", where, _short(offsets), "[begin, end]")
    spec = TensorSpec(shape, dtype)
    begin, end = offsets
    if end - begin != spec.nbytes:
        wanted = f"{spec.nbytes} for {spec}"
        return Problem("data_offsets do not fit the shape", where, f"{end - begin} bytes", wanted)
    return RawEntry(name, spec, begin, end)


def layout_problems(entries: Sequence[RawEntry], file: Path, data_bytes: int) -> Iterator[Problem]:
    """What is wrong with the byte ranges: overlaps, gaps, and a data section of another size."""
    last_end, last_name = 0, ""
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        where = f"{file}: {entry.name!a}"
        if entry.begin < last_end:
            yield Problem(f"overlaps {last_name!a} by {last_end - entry.begin} bytes", where)
        elif entry.begin > last_end:
            yield Problem(f"gap of {entry.begin - last_end} bytes before the tensor", where)
        if entry.end > last_end:
            last_end, last_name = entry.end, entry.name
    if last_end > data_bytes:
        missing = f"truncated file: {last_end - data_bytes} bytes are missing"
        where = f"{file}: {last_name!a}"
        hint = "download or copy the file again"
        yield Problem(missing, where, f"{data_bytes} bytes of data", f"{last_end}", hint)
    elif last_end < data_bytes:
        yield Problem(f"{data_bytes - last_end} bytes after the last tensor", str(file))


def _is_shape(value: Any) -> TypeGuard[list[int]]:
    return _is_list_of_sizes(value) and len(value) <= _MAX_AXES


def _is_list_of_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        type(item) is int and 0 <= item <= _MAX_LENGTH for item in value
    )


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
