"""Memory for native functions, with something behind it that they must leave as it is."""

import numpy as np

GUARD = 0xEE


def aligned(size_bytes):
    """Memory at a multiple of 64, with a guard after its end."""
    raw = np.full(size_bytes + 128, GUARD, dtype=np.uint8)
    begin = -raw.ctypes.data % 64
    return raw[begin : begin + size_bytes], raw[begin + size_bytes :][:64]
