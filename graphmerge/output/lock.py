"""One run at a time per output: an exclusive lock on a file in the unfinished folder."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from graphmerge.errors import OutputError, Problem
from graphmerge.output.failures import write_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_NAME = ".graphmerge.lock"
"""The lock file; it also marks a folder as an unfinished output of graphmerge."""
_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})
"""Answers of file systems without locks (Lustre as it is often mounted): there the run goes on."""


@contextmanager
def lock_partial(partial: Path) -> Iterator[None]:
    """Hold the unfinished folder for this process; the system lets go of it if the process dies.

    Raises:
        OutputError: another run holds it.
        MachineError: the lock file cannot be opened.
    """
    path = partial / LOCK_NAME
    with write_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _lock(descriptor, path)
        with write_errors(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    with write_errors(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace")
            problem = Problem(
                "another run is writing this output",
                str(path.parent),
                got=f"process {holder}" if holder else "",
                hint="wait for it, or write to another folder",
            )
            raise OutputError(problem) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    if not _is_same_file(descriptor, path):
        what, hint = "another run has just finished this output", "use what it has written"
        raise OutputError(Problem(what, str(path.parent), hint=hint))


def _is_same_file(descriptor: int, path: Path) -> bool:
    """Whether `path` still is the file that was opened: publishing moves it while others wait."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
