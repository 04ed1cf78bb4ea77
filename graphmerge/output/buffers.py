"""Pieces of tensors as plain bytes, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def byte_view(data: memoryview | NDArray[Any]) -> memoryview:
    """The bytes of a C-contiguous array of any type and shape, without a copy."""
    if isinstance(data, np.ndarray):
        return data.reshape(-1).view(np.uint8).data
    return data.cast("B") if data.nbytes else memoryview(b"")
