"""Read the header of a safetensors file; every byte of it is checked before it is believed.

The format: eight bytes of length (little-endian), that many bytes of JSON, the data. The JSON maps
each tensor name to dtype, shape and data_offsets; the ranges fill the data without gap or overlap.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field

from graphmerge.checkpoint.access import machine_errors, open_file
from graphmerge.checkpoint.header_columns import Columns, read_columns
from graphmerge.checkpoint.header_entry import EntryReader
from graphmerge.checkpoint.values import TensorEntry, read_only_tensors
from graphmerge.errors import CheckpointError, Problem, shortened
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LENGTH_BYTES = 8
"""Size of the number that a file begins with."""
MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library, so that a corrupt length cannot ask for all memory."""
_MAX_PROBLEMS = 10
"""Problems of one file that are shown; a corrupt header may have one for every tensor."""


def _read_only(metadata: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(metadata))


@frozen(eq=False)
class Header:
    """What the header of one file says."""

    tensors: Mapping[str, TensorEntry] = field(converter=read_only_tensors)
    """Every tensor by name, in the order of the header."""
    metadata: Mapping[str, str] = field(converter=_read_only)
    """The file's `__metadata__`; empty if it has none."""
    columns: Columns | None = None
    """What headers of the same bytes share, if the header was read column by column."""


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file.

    Raises:
        CheckpointError: the file is corrupt or truncated; holds up to ten problems.
        MachineError: the file cannot be read.
    """
    data = read_header_bytes(path)
    with machine_errors(path):
        file_bytes = path.stat().st_size
    return parse_header(data, path, file_bytes=file_bytes)


def read_header_bytes(path: Path) -> bytes:
    """The JSON text of a file's header, not yet checked.

    Raises:
        CheckpointError: the file is shorter than its header.
        MachineError: the file cannot be read.
    """
    with open_file(path) as stream:
        prefix = stream.read(LENGTH_BYTES)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < LENGTH_BYTES:
            got, wanted = f"{len(prefix)} bytes", f"{LENGTH_BYTES} bytes or more"
            raise CheckpointError(Problem("not a safetensors file", str(path), got, wanted))
        if length > MAX_HEADER_BYTES:
            got, wanted = f"a header of {length} bytes", f"at most {MAX_HEADER_BYTES}"
            raise CheckpointError(Problem("not a safetensors file", str(path), got, wanted))
        data = stream.read(length)
    if len(data) < length:
        got, wanted = f"{len(data)} bytes of header", f"{length}"
        raise CheckpointError(Problem("truncated file", str(path), got, wanted))
    return data


def parse_header(data: bytes, file: Path, *, file_bytes: int) -> Header:
    """Check the JSON text of a header.

    Args:
        data: the text, without the length before it.
        file: the file that the tensors are in, for the entries and for messages.
        file_bytes: size of that file.

    Raises:
        CheckpointError: the header is corrupt or the file truncated; holds up to ten problems.
    """
    data_start = LENGTH_BYTES + len(data)
    columns = read_columns(data, file_bytes - data_start)
    if columns is None:
        return _parse_each(data, file, data_start, file_bytes)
    offsets = [data_start + begin for begin in columns.begins]
    entries = map(TensorEntry, columns.names, columns.specs, repeat(file), offsets)
    tensors = dict(zip(columns.names, entries, strict=True))
    return Header(tensors, columns.metadata, columns)


def _parse_each(data: bytes, file: Path, data_start: int, file_bytes: int) -> Header:
    """Check a header tensor by tensor: slower, but it can say what is wrong."""
    content = _load_object(data, file)
    metadata = content.pop("__metadata__", {})
    reader = EntryReader(file, data_start)
    problems = [problem for item in content.items() if (problem := reader.read(*item))]
    if not _is_text_map(metadata):
        problems.append(Problem("invalid __metadata__", str(file), wanted="texts by name"))
    # Ranges are compared only if every tensor has one: else each fault would show again as a gap.
    problems = problems or list(reader.layout_problems(file_bytes - data_start))
    if problems:
        raise CheckpointError(*shortened(problems, most=_MAX_PROBLEMS))
    return Header(reader.tensors, metadata)


def _load_object(data: bytes, file: Path) -> dict[str, Any]:
    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(Problem("invalid header", str(file), str(error))) from error
    if not isinstance(content, dict):
        got = type(content).__name__
        raise CheckpointError(Problem("invalid header", str(file), got, "a JSON object"))
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; a ValueError if a name is given twice or is no UTF-8 text."""
    content = dict(pairs)
    "".join(content).encode("utf-8")
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"{counts.most_common(1)[0][0]!a} is given twice")
    return content


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
