"""Native functions that go through the whole rows of a tile."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from graphmerge.native.divergence import emit_row_divergences
from graphmerge.native.functions import once
from graphmerge.native.machine_code import loaded
from graphmerge.native.ranking import emit_ranking
from graphmerge.ops.masks import mask_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from llvmlite import binding

    from graphmerge.native.functions import Bytes
    from graphmerge.ops.ranked import RankedMask
    from graphmerge.spec import DType
    from graphmerge.statistics import Partial

_RANKING = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2)
_DIVERGENCES = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2)


class RankedRows:
    """The masks of rows by rank, of one tensor; for one thread."""

    def __init__(self, scratch: Bytes) -> None:
        """Prepare, with memory of `ranking_bytes`, aligned to 64 bytes."""
        self._scratch = scratch
        self._function, self._engine = _ranking()

    def give(self, op: RankedMask, row: int) -> None:
        """Go on to another tensor, with rows of this length."""
        parameters = mask_parameters(op.key, 0.0)
        self._row = row
        self._words = np.array([parameters.seed, parameters.second_seed, row], dtype=np.uint64)
        lowest, rise = op.density - op.epsilon, 2 * op.epsilon
        slope = (lowest, rise / (row - 1)) if row > 1 else (op.density, 0.0)
        self._numbers = np.array([lowest, rise, *(256 * number for number in slope)])

    def __call__(self, values: Bytes, mask: Bytes, start: int) -> None:
        """Fill a mask, which has room for 64 bytes more than there are values.

        Args:
            values: Bytes of float32 values, whole rows.
            mask: Where a byte for each of them goes.
            start: Flat index of the first, a multiple of 8.
        """
        arrays = (values, mask, self._scratch, self._numbers, self._words)
        rows = len(values) // (4 * self._row)
        self._function(*(array.ctypes.data for array in arrays), rows, start)


class DivergentRows:
    """The divergences of rows of two tensors; for one thread."""

    def __init__(
        self,
        dtypes: tuple[DType, ...],
        row: int,
        rows: int,
        scratch: Bytes,
        *,
        single: bool = False,
    ) -> None:
        """Prepare for tiles of so many rows, with memory of `divergence_bytes`, aligned to 64.

        `single` says whether the op's inputs are float32, in whatever dtypes they are stored.
        """
        self._row, self._scratch = row, scratch
        self._found = np.empty((rows, 2))
        self._seen = np.zeros(2, dtype=np.uint64)
        self._function, self._engine = _divergences(dtypes, single)

    def __call__(
        self, first: Bytes, second: Bytes, start: int
    ) -> tuple[Partial, tuple[bool, bool]]:
        """Number and divergence of each row of a tile, gone with the next one.

        Args:
            first: Bytes of the rows.
            second: The same of the other tensor.
            start: Flat index of the first element.

        Returns:
            The partial result, and in which inputs NaN or infinity was seen.
        """
        rows = len(self._found)
        begin = start // self._row
        self._found[:, 0] = np.arange(begin, begin + rows)
        self._seen.fill(0)
        arrays = (first, second, self._scratch, self._found, self._seen)
        self._function(*(array.ctypes.data for array in arrays), self._row, rows)
        in_first, in_second = self._seen.tolist()
        return self._found, (bool(in_first), bool(in_second))


@once
def _ranking() -> tuple[Callable[..., None], binding.ExecutionEngine]:
    engine = loaded(str(emit_ranking()))
    return _RANKING(engine.get_function_address("rank_rows")), engine


@once
def _divergences(
    dtypes: tuple[DType, ...],
    single: bool,  # noqa: FBT001 - a key of what is kept
) -> tuple[Callable[..., None], binding.ExecutionEngine]:
    engine = loaded(str(emit_row_divergences(dtypes, single=single)))
    return _DIVERGENCES(engine.get_function_address("row_divergences")), engine
