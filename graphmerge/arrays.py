"""Where the memory of arrays is, for native functions."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLACE = ctypes.c_char * 0


def address_of(array: NDArray[Any]) -> int:
    """The address of the first element of an array, which whoever uses it holds.

    It takes less than half the time of `array.ctypes.data`, and is asked for every tile.

    Raises:
        TypeError: the array is read-only, or not C-contiguous.
    """
    return ctypes.addressof(_PLACE.from_buffer(array.data))
