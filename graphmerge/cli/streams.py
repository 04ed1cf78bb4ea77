"""Standard streams: for names in any alphabet, and for what becomes of lines with no room."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from graphmerge.errors import MachineError, Problem

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}


class _Results(io.FileIO):
    """The file behind stdout: a command whose result cannot be written has failed."""

    def write(self, lines: ReadableBuffer, /) -> int:
        """Write bytes.

        Raises:
            BrokenPipeError: the reader has gone away.
            MachineError: they cannot be written; from now on they go nowhere, as the interpreter
                would try again at its end.
        """
        try:
            return super().write(lines)
        except BrokenPipeError:
            raise
        except OSError as error:
            write_nowhere(self.fileno())
            what = _REASONS.get(error.errno or 0, f"cannot write: {error.strerror}")
            raise MachineError(Problem(what, "stdout")) from error


class _Messages(io.FileIO):
    """The file behind stderr: where nobody can be told anything, work goes on."""

    def write(self, lines: ReadableBuffer, /) -> int:
        """Write bytes, or none where that fails."""
        try:
            return super().write(lines)
        except OSError:
            return memoryview(lines).nbytes


def write_nowhere(descriptor: int) -> None:
    """Let what is written to a descriptor vanish from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def prepare_streams() -> None:
    """Give this process streams for names in any alphabet, whose failures are no traceback."""
    sys.stdout = _prepared(sys.stdout, _Results)
    sys.stderr = _prepared(sys.stderr, _Messages)


def _prepared(stream: object, kind: type[io.FileIO]) -> io.TextIOWrapper:
    if not isinstance(stream, io.TextIOWrapper):  # the shell has closed it
        return Path(os.devnull).open("w", encoding="utf-8")
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
