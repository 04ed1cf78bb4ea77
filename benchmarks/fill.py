"""Use memory once and give it back, so that the host of a virtual machine has it ready.

python benchmarks/fill.py BYTES uses so much of what is free, or all but 1 GiB if that is less.
"""

from __future__ import annotations

import mmap
import os
import sys

SPARE_BYTES = 2**30
"""Left free, so that nothing is dropped from the page cache."""
POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE of Linux 5.14, which the mmap module has no name for."""


def main() -> None:
    """Run the command."""
    size = min(free_bytes() - SPARE_BYTES, int(sys.argv[1]))
    if size > 0:
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)
            memory.madvise(POPULATE_WRITE)


def free_bytes() -> int:
    """Memory that nothing uses, not even the page cache."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
