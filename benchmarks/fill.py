"""Use memory once and give it back, so that the host of a virtual machine has it ready.

python benchmarks/fill.py BYTES uses so much of what is free, or all but 1 GiB if that is less.
"""

from __future__ import annotations

import mmap
import os
import sys
import time

SPARE_BYTES = 2**30
"""Left free, so that nothing is dropped from the page cache."""
POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE of Linux 5.14, which the mmap module has no name for."""
HELD_SECONDS = 2.5
"""How long memory is held: two seconds after some was freed, Linux hands what is free then to the
host (PAGE_REPORTING_DELAY in mm/page_reporting.c). Once that has passed by, what is given back here
stays ready for two seconds; else half a GB of it could be gone a moment later, measured as 1 s."""


def main() -> None:
    """Run the command."""
    size = min(free_bytes() - SPARE_BYTES, int(sys.argv[1]))
    if size > 0:
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)
            memory.madvise(POPULATE_WRITE)
            time.sleep(HELD_SECONDS)


def free_bytes() -> int:
    """Memory that nothing uses, not even the page cache."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
