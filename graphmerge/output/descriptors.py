"""A bounded set of open files that many threads write to."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from graphmerge.output.failures import write_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_OPEN_FILES = 64
"""Far below the usual limit of 1,024 per process, and more than any number of workers."""


class DescriptorPool:
    """Opens files on first use and closes the one idle for longest when too many are open."""

    def __init__(self, paths: Sequence[Path], *, max_open_files: int = MAX_OPEN_FILES) -> None:
        self._paths = paths
        self._max_open_files = max_open_files
        self._lock = threading.Lock()
        self._open: OrderedDict[int, int] = OrderedDict()
        self._users = [0] * len(paths)

    @contextmanager
    def borrow(self, number: int) -> Iterator[int]:
        """Descriptor of file `number`, open for reading and writing, kept open during the block.

        Raises:
            MachineError: the file cannot be opened.
        """
        with self._lock:
            self._users[number] += 1
        try:
            yield self._descriptor(number)
        finally:
            with self._lock:
                self._users[number] -= 1

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])

    def _descriptor(self, number: int) -> int:
        with self._lock:
            if number not in self._open:
                self._close_idle()
                with write_errors(self._paths[number]):
                    self._open[number] = os.open(
                        self._paths[number], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
                    )
            self._open.move_to_end(number)
            return self._open[number]

    def _close_idle(self) -> None:
        """Make room for one more file; where all are in use the bound is passed for a moment."""
        if len(self._open) < self._max_open_files:
            return
        idle = next((number for number in self._open if not self._users[number]), None)
        if idle is not None:
            os.close(self._open.pop(idle))
