"""What codes of 8-bit floats mean: by tables, exactly."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.spec import DType

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CODES = np.arange(256)


def decode_float8(codes: NDArray[np.uint8], dtype: DType, out: NDArray[np.float32]) -> None:
    """Write the number that every code stands for; two codes at a time are looked up at once.

    Args:
        codes: As they are stored, contiguous.
        dtype: F8_E4M3, F8_E5M2 or F8_E8M0.
        out: As many numbers, contiguous.
    """
    even = len(codes) // 2 * 2
    pairs, found = codes[:even].view(np.uint16), out[:even].view(np.uint64)
    np.take(_values_of_pairs(dtype), pairs, out=found, mode="clip")  # else `out` is copied first
    if even < len(codes):
        out[even] = _values(dtype)[codes[even]]


@cache
def _values_of_pairs(dtype: DType) -> NDArray[np.uint64]:
    """The two numbers of every pair of codes, the first one in the lower half. Shape (65536,)."""
    values = _values(dtype)
    table = np.empty((65536, 2), np.float32)
    table[:, 0], table[:, 1] = np.tile(values, 256), np.repeat(values, 256)
    return table.view(np.uint64).reshape(-1)


@cache
def _values(dtype: DType) -> NDArray[np.float32]:
    """The number of every code. Shape (256,)."""
    if dtype is DType.F8_E8M0:  # an exponent alone
        return _float32(np.where(_CODES == 255, np.nan, np.ldexp(1.0, _CODES - 127)))
    if dtype is DType.F8_E5M2:  # the upper half of a float16
        return _float32((_CODES.astype(np.uint16) << 8).view(np.float16))
    assert dtype is DType.F8_E4M3, dtype
    exponent, fraction = (_CODES >> 3) & 15, _CODES & 7
    normal = np.ldexp(8.0 + fraction, exponent - 10)
    size = np.where(exponent == 0, np.ldexp(1.0 * fraction, -9), normal)
    size[_CODES & 127 == 127] = np.nan
    return _float32(np.where(_CODES < 128, size, -size))


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float32)
