"""Read small files so that every failure is an error of ours that names the file."""

from __future__ import annotations

import json
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from graphmerge.errors import CheckpointError, MachineError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

COPY_AGAIN = "download or copy the file again"
"""What to do about a file that is damaged."""


@contextmanager
def machine_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to read `path`, or a file in it, into an error of ours.

    Raises:
        MachineError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        where = str(error.filename or path)
        got = error.strerror or type(error).__name__
        raise MachineError(Problem("cannot read", where, got)) from error


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read it; a pipe would be waited for, and a device may never end.

    Raises:
        CheckpointError: it is a pipe, a device or a socket.
        MachineError: it cannot be read.
    """
    with machine_errors(path), open(path, "rb", opener=_without_waiting) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise CheckpointError(Problem("a pipe, device or socket in place of a file", str(path)))
        yield stream


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        CheckpointError: it is a pipe, a device or a socket.
        MachineError: it cannot be read.
    """
    with open_file(path) as stream:
        return stream.read()


def read_json_object(path: Path) -> Mapping[str, Any]:
    """The content of a JSON file that holds an object.

    Raises:
        CheckpointError: the file is not JSON, or no object.
        MachineError: the file cannot be read.
    """
    return parse_json_object(read_bytes(path), path)


def read_optional_object(path: Path) -> dict[str, Any]:
    """The same of a file that need not exist; empty if it does not.

    Raises:
        CheckpointError: the file is not JSON, or no object.
        MachineError: the file cannot be read.
    """
    return dict(read_json_object(path)) if path.exists() else {}


def parse_json_object(data: bytes, path: Path) -> dict[str, Any]:
    """The object that the text of a JSON file holds.

    Raises:
        CheckpointError: the text is not JSON, or no object.
    """
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(Problem("invalid JSON", where=str(path), got=str(error))) from error
    if not isinstance(content, dict):
        got = type(content).__name__
        raise CheckpointError(Problem("not a JSON object", where=str(path), got=got))
    return content
