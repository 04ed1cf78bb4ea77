"""Native functions that go through the whole rows of a tile."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from graphmerge.arrays import address_of
from graphmerge.native.divergence import emit_row_divergences
from graphmerge.native.functions import Outcome, file_columns, once
from graphmerge.native.machine_code import loaded
from graphmerge.native.ranking import BLOCK, ROW, SECOND_SEED, SEED, WORDS, emit_ranking
from graphmerge.ops.masks import mask_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llvmlite import binding
    from numpy.typing import NDArray

    from graphmerge.native.functions import Bytes, FilePlace
    from graphmerge.ops.ranked import RankedMask
    from graphmerge.spec import DType

_RANKING = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2)
_DIVERGENCES = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 6, *[ctypes.c_int64] * 3)


class Ranking:
    """What is needed to make the masks of rows of one tensor after another; for one thread."""

    def __init__(self, memory: Bytes, block_elements: int) -> None:
        """Prepare.

        Args:
            memory: Of `ranking_bytes`, aligned to 64 bytes.
            block_elements: How many are worked on at a time.
        """
        self._memory = memory
        self._numbers = np.zeros(4)
        self._words = np.zeros(WORDS, dtype=np.uint64)
        self._block_elements = block_elements

    def give(self, op: RankedMask, row: int) -> None:
        """Go on to another tensor, with rows of this length."""
        parameters = mask_parameters(op.key, 0.0)
        self._words[SEED], self._words[SECOND_SEED] = parameters.seed, parameters.second_seed
        self._words[ROW], self._words[BLOCK] = row, self._block_elements
        lowest, rise = op.density - op.epsilon, 2 * op.epsilon
        slope = (lowest, rise / (row - 1)) if row > 1 else (op.density, 0.0)
        self._numbers[:] = (lowest, rise, *(256 * number for number in slope))

    @property
    def arrays(self) -> tuple[Bytes | NDArray[Any], ...]:
        """Memory, numbers and words, as `rank_rows` takes them."""
        return self._memory, self._numbers, self._words


class RankedRows:
    """The masks of rows by rank of values in memory; for one thread."""

    def __init__(self, memory: Bytes, elements: int) -> None:
        """Prepare for tiles of so many elements, with memory as for `Ranking`."""
        self._ranking = Ranking(memory, elements)
        self._function, self._engine = _ranking()

    def give(self, op: RankedMask, row: int) -> None:
        """Go on to another tensor, with rows of this length."""
        self._ranking.give(op, row)
        self._row = row

    def __call__(self, values: Bytes, mask: Bytes, start: int) -> None:
        """Fill a mask, which has room for 64 bytes more than there are values.

        Args:
            values: Bytes of float32 values, whole rows.
            mask: Where a byte for each of them goes.
            start: Flat index of the first, a multiple of 8.
        """
        arrays = (values, mask, *self._ranking.arrays)
        rows = len(values) // (4 * self._row)
        self._function(*map(address_of, arrays), rows, start)


class DivergentRows:
    """The divergences of rows of two tensors; for one thread."""

    def __init__(
        self,
        dtypes: tuple[DType, ...],
        row: int,
        results: Bytes,
        memory: Bytes,
        *,
        rows_at_once: int,
        single: bool = False,
    ) -> None:
        """Prepare for tiles of as many rows as there are 16 bytes for in `results`.

        Results and memory, which is of `divergence_bytes`, are aligned to 64 bytes. What is in a
        file is read `rows_at_once`. `single` says whether the op's inputs are float32, in whatever
        dtypes they are stored.
        """
        self._row, self._memory, self._rows_at_once = row, memory, rows_at_once
        self._found = results.view(np.float64).reshape(-1, 2)
        elements = len(self._found) * row
        self._sizes = [elements * dtype.bits // 8 for dtype in dtypes]
        self._seen = np.zeros(2, dtype=np.uint64)
        self._function, self._engine = _divergences(dtypes, single)

    def __call__(
        self, inputs: Sequence[Bytes], start: int, files: Sequence[FilePlace | None] = (None, None)
    ) -> Outcome:
        """Number and divergence of each row of a tile, gone with the next one.

        Args:
            inputs: Bytes of the rows of both tensors, or room for them or for as many as are read
                at once.
            start: Flat index of the first element.
            files: For either where in a file the tile begins, None if it is in memory.

        Returns:
            The partial result, as number 0, and in which inputs NaN or infinity was seen.
        """
        rows = len(self._found)
        begin = start // self._row
        self._found[:, 0] = np.arange(begin, begin + rows)
        self._seen.fill(0)
        columns = np.array(file_columns(files, inputs, self._sizes), dtype=np.int64)
        arrays: list[NDArray[Any]] = [*inputs, columns, self._memory, self._found, self._seen]
        addresses = map(address_of, arrays)
        unread = self._function(*addresses, self._row, rows, self._rows_at_once)
        if unread:
            return Outcome({}, (), (), is_finite=True, unread=unread - 1)
        bad = tuple(number for number, seen in enumerate(self._seen.tolist()) if seen)
        return Outcome({0: self._found}, bad, (), is_finite=True)


@once
def _ranking() -> tuple[Callable[..., None], binding.ExecutionEngine]:
    module = ir.Module("ranking")
    emit_ranking(module)
    engine = loaded(str(module))
    return _RANKING(engine.get_function_address("rank_rows")), engine


@once
def _divergences(
    dtypes: tuple[DType, ...],
    single: bool,  # noqa: FBT001 - a key of what is kept
) -> tuple[Callable[..., int], binding.ExecutionEngine]:
    engine = loaded(str(emit_row_divergences(dtypes, single=single)))
    return _DIVERGENCES(engine.get_function_address("row_divergences")), engine
