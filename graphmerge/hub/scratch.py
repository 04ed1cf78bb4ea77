"""A temporary folder of this process; one that a killed process has left is removed by the next."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

_PREFIX = "graphmerge-views-"


@cache
def scratch_folder() -> Path:
    """The folder; gone when this process ends.

    It is locked as long as the process lives, whatever ends that: a folder that is not locked has
    been left by one that was killed. Numbers of processes would not tell, as containers that share
    the place of temporary folders do not see each other's.

    Raises:
        OSError: there is no place for temporary folders.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _remove_abandoned(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    while not _is_held(folder):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder whose process has ended."""
    with suppress(OSError):  # locked, gone, or another user's
        descriptor = _lock(folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _is_held(folder: Path) -> bool:
    """Lock a new folder; False where another process has taken it for an abandoned one."""
    try:
        _lock(folder)
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        return True  # this file system has no locks, so that nobody removes anything
    return folder.exists()


def _lock(folder: Path) -> int:
    """The descriptor that holds the lock, until it is closed or the process ends.

    Raises:
        OSError: there is no such folder, or it is locked, or cannot be.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
