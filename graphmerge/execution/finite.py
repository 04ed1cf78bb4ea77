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

_EXPONENTS: dict[DType, tuple[type[np.unsignedinteger[Any]], int]] = {
    DType.F16: (np.uint16, 0x7C00),
    DType.BF16: (np.uint16, 0x7F80),
    DType.F32: (np.uint32, 0x7F800000),
    DType.F64: (np.uint64, 0x7FF0000000000000),
}
"""An unsigned integer of the dtype's size, and the bits of its exponent: all set in NaN and
infinity."""


def is_finite(stored: Bytes, dtype: DType) -> bool:
    """Whether no element is NaN or infinite; True for dtypes that have neither."""
    if dtype not in _EXPONENTS:
        return True
    integer, exponent = _EXPONENTS[dtype]
    words, mask = stored.view(integer), integer(exponent)
    return not len(words) or bool((words & mask).max() != mask)


def not_finite(task: TileTask, stored: Mapping[Node, Bytes]) -> tuple[Node, ...]:
    """Loads in which NaN or infinity is seen, of those that no pass before has read."""
    return tuple(
        load
        for load in task.part.program.loads
        if load in task.first_reads and not is_finite(stored[load], load.spec.dtype)
    )
