"""Pieces of tensors as plain bytes, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def byte_view(data: memoryview | NDArray[Any]) -> memoryview:
    """The bytes of a C-contiguous array of any type and shape, without a copy."""
    if not data.nbytes:
        return memoryview(b"")
    if isinstance(data, memoryview):
        return data.cast("B")
    return data.reshape(-1).view("uint8").data
