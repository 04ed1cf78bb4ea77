"""Float32 arrays to and from the stored bytes of a float dtype, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.errors import InputError, Problem
from graphmerge.spec import DType

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STORED: dict[DType, np.dtype[Any]] = {
    DType.BF16: np.dtype("<u2"),
    DType.F16: np.dtype("<f2"),
    DType.F32: np.dtype("<f4"),
    DType.F64: np.dtype("<f8"),
}
"""The numpy dtype whose bytes are the stored ones; bfloat16 is kept as its bits."""


def encode(values: NDArray[np.float32], dtype: DType) -> NDArray[Any]:
    """Finite values rounded to nearest even, as an array whose bytes are the stored ones.

    Raises:
        InputError: the dtype is no float of 16 bits or more.
    """
    stored = _stored(dtype)
    if dtype is not DType.BF16:
        return values.astype(stored)
    bits = values.view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    return rounded.astype(stored)


def decode(data: bytes, dtype: DType) -> NDArray[np.float32]:
    """The values of stored bytes.

    Raises:
        InputError: the dtype is no float of 16 bits or more.
    """
    stored = np.frombuffer(data, _stored(dtype))
    if dtype is not DType.BF16:
        return stored.astype(np.float32)
    bits = stored.astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def _stored(dtype: DType) -> np.dtype[Any]:
    if dtype not in _STORED:
        wanted = ", ".join(known.value for known in _STORED)
        raise InputError(Problem("no values for this dtype", got=dtype.value, wanted=wanted))
    return _STORED[dtype]
