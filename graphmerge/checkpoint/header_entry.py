"""Check what a header says of its tensors: each by itself, then their byte ranges together.

For headers that are not in order as a whole: it says what is wrong, and with which tensor.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeGuard

from attrs import evolve

from graphmerge.checkpoint.access import COPY_AGAIN
from graphmerge.checkpoint.header_columns import DTYPES, MAX_AXES, MAX_LENGTH
from graphmerge.checkpoint.values import TensorEntry
from graphmerge.errors import Problem
from graphmerge.spec import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class EntryReader:
    """Reads the entries of one header."""

    def __init__(self, file: Path, data_start: int) -> None:
        self.tensors: dict[str, TensorEntry] = {}
        """Every tensor that is sound by itself."""
        self._ranges: list[tuple[int, int, str]] = []
        """Its first byte and one past its last, counted from the start of the data section, and its
        name."""
        self._file = file
        self._data_start = data_start

    def read(self, name: str, value: Any) -> Problem | None:
        """Take up the entry of one tensor, or say what is wrong with it."""
        if not isinstance(value, dict):
            return self._problem(name, "not a tensor entry", type(value).__name__, "a JSON object")
        offsets = value.get("data_offsets")
        spec = _parse_spec(value.get("dtype"), value.get("shape"))
        if isinstance(spec, Problem):
            return evolve(spec, where=self._where(name))
        if not _is_list_of_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            return self._problem(name, "invalid data_offsets", _short(offsets), "[begin, end]")
        begin, end = offsets
        if end - begin != spec.nbytes:
            what, wanted = "data_offsets do not fit the shape", f"{spec.nbytes} for {spec}"
            return self._problem(name, what, f"{end - begin} bytes", wanted)
        self._ranges.append((begin, end, name))
        self.tensors[name] = TensorEntry(name, spec, self._file, self._data_start + begin)
        return None

    def layout_problems(self, data_bytes: int) -> Iterator[Problem]:
        """What is wrong with the byte ranges: overlaps, gaps, a data section of another size."""
        last_end, last_name = 0, ""
        for begin, end, name in sorted(self._ranges, key=itemgetter(0, 1)):
            if begin < last_end:
                overlap = f"overlaps {last_name!a} by {last_end - begin} bytes"
                yield Problem(overlap, self._where(name), hint=COPY_AGAIN)
            elif begin > last_end:
                gap = f"gap of {begin - last_end} bytes before the tensor"
                yield Problem(gap, self._where(name), hint=COPY_AGAIN)
            if end > last_end:
                last_end, last_name = end, name
        if last_end > data_bytes:
            missing = f"truncated file: {last_end - data_bytes} bytes are missing"
            where, got = self._where(last_name), f"{data_bytes} bytes of data"
            yield Problem(missing, where, got, f"{last_end}", COPY_AGAIN)
        elif last_end < data_bytes:
            more = f"{data_bytes - last_end} bytes after the last tensor"
            yield Problem(more, str(self._file), hint=COPY_AGAIN)

    def _problem(self, name: str, what: str, got: str, wanted: str) -> Problem:
        return Problem(what, self._where(name), got, wanted)

    def _where(self, name: str) -> str:
        return f"{self._file}: {name!a}"


def _parse_spec(dtype_name: Any, shape: Any) -> TensorSpec | Problem:
    """Shape and dtype as a header has them, or what is wrong with them."""
    dtype = DTYPES.get(dtype_name) if isinstance(dtype_name, str) else None
    if dtype is None:
        wanted = f"one of {', '.join(DTYPES)}"
        return Problem("unknown dtype", got=ascii(dtype_name), wanted=wanted)
    if not _is_list_of_sizes(shape) or len(shape) > MAX_AXES:
        wanted = f"lengths from 0 on, {MAX_AXES} at most"
        return Problem("invalid shape", got=_short(shape), wanted=wanted)
    return TensorSpec(shape, dtype)


def _is_list_of_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        type(item) is int and 0 <= item <= MAX_LENGTH for item in value
    )


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
