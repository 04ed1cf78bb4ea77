"""Failures of the machine while files are written, turned into messages that say what to do."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from graphmerge.errors import MachineError, Problem
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_SPACE = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_NO_ACCESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def write_errors(path: Path, *, needed_bytes: int = 0) -> Iterator[None]:
    """Report a failing operation on `path` as an error of the machine.

    Args:
        path: The file or folder that is being worked on.
        needed_bytes: Space that the operation takes, for the message about a full disk.

    Raises:
        MachineError: the block raised OSError.
    """
    try:
        yield
    except OSError as error:
        raise MachineError(_problem(error, path, needed_bytes)) from error


def resolved(out: Path) -> Path:
    """Where an output is, without symbolic links.

    Raises:
        MachineError: they lead round in a circle.
    """
    with write_errors(out):
        try:
            return out.resolve()
        except RuntimeError as error:  # so before Python 3.13
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error


def _problem(error: OSError, path: Path, needed_bytes: int) -> Problem:
    where = str(path)
    if error.errno in _NO_SPACE:
        return Problem(
            _NO_SPACE[error.errno],
            where,
            got=f"{format_bytes(_free_bytes(path))} free",
            wanted=f"{format_bytes(needed_bytes)} for this file" if needed_bytes else "",
            hint="free some space and run the same command again: it resumes; or write elsewhere",
        )
    reason = error.strerror or str(error)
    if error.errno in _NO_ACCESS:
        return Problem("cannot write", where, reason, hint="check permissions and mount options")
    return Problem("cannot write", where, reason)


def _free_bytes(path: Path) -> int:
    """Bytes that this user may still write beside `path`; 0 where that cannot be told."""
    try:
        status = os.statvfs(path.parent)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize
