"""A bounded set of open files that many threads read from or write to."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

MAX_OPEN_FILES = 64
"""Far below the usual limit of 1,024 per process. More are open only while more are in use: by each
worker the files that a tile is made from."""


@define(eq=False)
class _OpenFile:
    descriptor: int
    users: int = 0


class DescriptorPool:
    """Opens files on first use and closes the one idle for longest when too many are open."""

    def __init__(
        self,
        flags: int,
        errors: Callable[[Path], AbstractContextManager[object]],
        *,
        max_open_files: int = MAX_OPEN_FILES,
    ) -> None:
        """Prepare.

        Args:
            flags: How files are opened: `os.O_RDONLY`, say.
            errors: Says of a path what is wrong where it cannot be opened.
            max_open_files: Most files that are open at a time, but for those in use.
        """
        self._flags = flags | os.O_CLOEXEC
        self._errors = errors
        self._max_open_files = max_open_files
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, _OpenFile] = OrderedDict()

    @contextmanager
    def borrow(self, *paths: Path) -> Iterator[list[int]]:
        """Descriptors of files, which may be the same, kept open during the block.

        Raises:
            OSError: a file cannot be opened; or what the pool makes of that.
        """
        files: list[_OpenFile] = []
        try:
            with self._lock:
                for path in paths:
                    files.append(file := self._open.get(path) or self._opened(path))
                    self._open.move_to_end(path)
                    file.users += 1
            yield [file.descriptor for file in files]
        finally:
            with self._lock:
                for file in files:
                    file.users -= 1

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1].descriptor)

    def _opened(self, path: Path) -> _OpenFile:
        self._close_idle()
        with self._errors(path):
            file = self._open[path] = _OpenFile(os.open(path, self._flags, 0o666))
        return file

    def _close_idle(self) -> None:
        """Make room for one more file; where all are in use the bound is passed for a moment."""
        excess = len(self._open) + 1 - self._max_open_files
        if excess > 0:
            idle = (path for path, file in self._open.items() if not file.users)
            for path in tuple(islice(idle, excess)):
                os.close(self._open.pop(path).descriptor)
