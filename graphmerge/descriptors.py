"""A bounded set of open files that many threads read from or write to."""

from __future__ import annotations

import os
import threading
from collections import Counter, OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

MAX_OPEN_FILES = 64
"""Far below the usual limit of 1,024 per process, and more than any number of workers."""


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
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._users: Counter[Path] = Counter()

    @contextmanager
    def borrow(self, path: Path) -> Iterator[int]:
        """Descriptor of a file, kept open during the block.

        Raises:
            OSError: the file cannot be opened; or what the pool makes of that.
        """
        with self._lock:
            descriptor = self._descriptor(path)
            self._users[path] += 1
        try:
            yield descriptor
        finally:
            with self._lock:
                self._users[path] -= 1

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])

    def _descriptor(self, path: Path) -> int:
        if path not in self._open:
            self._close_idle()
            with self._errors(path):
                self._open[path] = os.open(path, self._flags, 0o666)
        self._open.move_to_end(path)
        return self._open[path]

    def _close_idle(self) -> None:
        """Make room for one more file; where all are in use the bound is passed for a moment."""
        if len(self._open) < self._max_open_files:
            return
        idle = next((path for path in self._open if not self._users[path]), None)
        if idle is not None:
            os.close(self._open.pop(idle))
