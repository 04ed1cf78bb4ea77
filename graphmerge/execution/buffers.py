"""Memory from the kernel, and the fixed arena of a worker."""

from __future__ import annotations

import mmap
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from graphmerge.execution.reading import Bytes

ALIGNMENT = 64
_HUGE_PAGE_BYTES = 2**21


def anonymous_memory(size_bytes: int) -> mmap.mmap:
    """Page-aligned memory from the kernel: resident only where touched, returned when let go.

    Large buffers are asked for in huge pages, which the kernel clears five times as fast (measured
    0.04 s of CPU for 256 MiB instead of 0.2) and which lie within the buffer, if there are any.
    """
    memory = mmap.mmap(-1, max(size_bytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux" and size_bytes >= _HUGE_PAGE_BYTES:
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


class Arena:
    """One worker's memory for registers and buffers, carved anew for every program."""

    def __init__(self, size_bytes: int) -> None:
        memory = anonymous_memory(size_bytes)
        self._memory = np.frombuffer(memory, dtype=np.uint8, count=size_bytes)
        self._used = 0

    def reset(self) -> None:
        """Forget what was carved out; the pieces must not be used any more."""
        self._used = 0

    def take(self, size_bytes: int) -> Bytes:
        """The next piece, aligned. The plan has made the arena large enough."""
        start = self._used
        self._used = start + -(-size_bytes // ALIGNMENT) * ALIGNMENT
        assert self._used <= self._memory.nbytes, "a tile needs more than the plan has declared"
        return self._memory[start : start + size_bytes]
