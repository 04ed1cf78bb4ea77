"""Look for NaN and infinity in stored bytes, before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.tiles import TileTask
    from graphmerge.graph import Node

_INTEGERS: dict[DType, tuple[type[np.signedinteger[Any]], type[np.unsignedinteger[Any]], int]] = {
    DType.F16: (np.int16, np.uint16, 0x7C00),
    DType.BF16: (np.int16, np.uint16, 0x7F80),
    DType.F32: (np.int32, np.uint32, 0x7F800000),
    DType.F64: (np.int64, np.uint64, 0x7FF0000000000000),
}
"""Integers of the dtype's size, and the bits of infinity: no finite number has a larger magnitude,
and NaN has."""


def is_finite(stored: Bytes, dtype: DType) -> bool:
    """Whether no element is NaN or infinite; True for dtypes that have neither."""
    if dtype not in _INTEGERS or not len(stored):
        return True
    signed, unsigned, infinity = _INTEGERS[dtype]
    sign_bit = 1 << (dtype.bits - 1)
    # numbers without the sign bit are the largest of signed integers, those with it of unsigned
    largest, most_negative = stored.view(signed).max(), stored.view(unsigned).max()
    return bool(int(largest) < infinity and int(most_negative) < sign_bit + infinity)


def not_finite(task: TileTask, stored: Mapping[Node, Bytes]) -> tuple[Node, ...]:
    """Loads in which NaN or infinity is seen, of those that no pass before has read."""
    return tuple(
        load
        for load in task.part.program.loads
        if load in task.first_reads and not is_finite(stored[load], load.spec.dtype)
    )
