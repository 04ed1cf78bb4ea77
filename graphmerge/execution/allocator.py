"""Settings of the C library's allocator."""

from __future__ import annotations

import ctypes

from graphmerge.units import MIB

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 64 * MIB


def keep_freed_pages() -> None:
    """Let kernels reuse the pages of their workspace instead of returning them at every tile.

    glibc maps blocks above 128 KiB anew at each allocation, and the kernel clears them each time:
    measured a third of a slerp's CPU time. What is kept is bounded by the declared workspace.
    Other C libraries have no mallopt and are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
