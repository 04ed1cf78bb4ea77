"""Settings of the C library's allocator."""

from __future__ import annotations

import ctypes

from graphmerge.units import MIB

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 64 * MIB
_KEPT_BESIDE_MATRICES_BYTES = 4 * MIB
"""Where whole matrices are worked on, their blocks are mapped one by one: heaps that hold a few
large blocks of different sizes have holes of the size of the blocks (measured 16 MiB and more)."""


def keep_freed_pages(*, beside_matrices: bool) -> None:
    """Let kernels reuse the pages of their workspace instead of returning them at every tile.

    glibc maps blocks above 128 KiB anew at each allocation, and the kernel clears them each time:
    measured a third of a slerp's CPU time. What is kept is bounded by the declared workspace.
    Other C libraries have no mallopt and are left as they are.

    Args:
        beside_matrices: Whether some kernel works on whole matrices.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        kept = _KEPT_BESIDE_MATRICES_BYTES if beside_matrices else _KEPT_BYTES
        mallopt(_M_MMAP_THRESHOLD, kept)
        mallopt(_M_TRIM_THRESHOLD, kept)
