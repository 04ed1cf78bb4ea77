"""Rows of stored tensors put in another order: what vocabularies are remapped by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xxhash
from attrs import field

from graphmerge.errors import GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Op, Space, Workspace
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO_ROW = -1
"""In `RowMap.source`: a row of zeros."""
COMBINED_ROW = -2
"""In `RowMap.source`: a weighted sum of rows; `RowMap.row` says which."""
GATHER_ELEMENTS = 65536
"""Elements that are converted, combined or picked out at a time."""
_WORKSPACE_ROWS = 4
"""Rows of float64 that combining takes: the sum, one row converted, and room for conversion."""


@frozen(eq=False)
class Combinations:
    """Weighted sums of rows: sum k is that of the entries from `starts[k]` to `starts[k + 1]`."""

    starts: NDArray[np.int64]
    """Shape (sums + 1,)."""
    source: NDArray[np.int32]
    """Input of every entry."""
    row: NDArray[np.int64]
    """Row in that input."""
    weight: NDArray[np.float64]
    """Its weight."""

    def __len__(self) -> int:
        return len(self.starts) - 1


NO_COMBINATIONS = Combinations(
    np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0)
)
"""No sums."""


@frozen(eq=False)
class RowMap:
    """Where every row of a gathered tensor comes from."""

    source: NDArray[np.int32]
    """Number of the input, ZERO_ROW or COMBINED_ROW. Shape (rows,)."""
    row: NDArray[np.int64]
    """Row in the input, or number of the weighted sum. Shape (rows,)."""
    combinations: Combinations = NO_COMBINATIONS
    """The weighted sums."""
    padding: int = 0
    """Rows that follow, each the mean of all rows of the map."""

    @property
    def rows(self) -> int:
        """Rows of the gathered tensor."""
        return len(self.source) + self.padding

    @property
    def is_copied(self) -> bool:
        """Whether every row is a row of an input, or zero."""
        return not self.padding and not len(self.combinations)

    @property
    def nbytes(self) -> int:
        """Bytes of the map itself."""
        arrays = (*_arrays(self), self.combinations.starts)
        return sum(array.nbytes for array in arrays)

    def digest(self) -> str:
        """What two maps share only if they are the same."""
        state = xxhash.xxh3_128(str((self.rows, self.padding)).encode())
        for array in _arrays(self):
            state.update(np.ascontiguousarray(array).data)
        state.update(self.combinations.starts.data)
        return state.hexdigest()


def _arrays(rows: RowMap) -> tuple[NDArray[Any], ...]:
    sums = rows.combinations
    return (rows.source, rows.row, sums.source, sums.row, sums.weight)


@frozen(cache_hash=True)
class GatherRows(Op):
    """Rows of stored tensors, each row that of an input, zero, or a weighted sum of rows.

    Its inputs are stored tensors, read row by row: it stands where a stored tensor stands in a
    program. Rows that are copied keep the dtype that all inputs share; if any is computed, or the
    dtypes differ, the result is in the dtype of the arithmetic, each row rounded once from float64.
    """

    kind: ClassVar[str] = "gather-rows"
    access: ClassVar[Access] = Access.ELEMENTWISE
    scheduled_alike: ClassVar[bool] = True

    rows: RowMap = field(eq=False, repr=False)
    """Where the rows come from."""
    is_flat: bool = field(default=False, kw_only=True)
    """Whether the inputs are one row each, (1, rows): then its elements are what is gathered."""
    digest: str = field(init=False)
    """What the map's content is known by."""
    what: str = field(default="", eq=False)
    """What is done, in words: for readers of the plan."""

    @digest.default
    def _digest(self) -> str:
        return self.rows.digest()

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """As many rows as the map has, of the inputs' common length."""
        first = inputs[0]
        lengths = {spec.shape[:1] if self.is_flat else spec.shape[1:] for spec in inputs}
        if not first.shape or len(lengths) > 1:
            got = ", ".join(str(list(spec.shape)) for spec in inputs)
            raise GraphError(Problem("rows of different lengths", got=got))
        dtypes = {spec.dtype for spec in inputs}
        shape = (1, self.rows.rows) if self.is_flat else (self.rows.rows, *first.shape[1:])
        if len(dtypes) == 1 and self.rows.is_copied:
            return TensorSpec(shape, first.dtype)
        if not all(dtype.is_mergeable_float for dtype in dtypes):
            got = ", ".join(sorted(dtype.value for dtype in dtypes))
            raise GraphError(Problem("rows of these dtypes cannot be combined", got=got))
        return TensorSpec(shape, DType.F64 if DType.F64 in dtypes else DType.F32)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """Rows of weights are weights."""
        return Space.WEIGHT

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A chunk as it is stored, converted and summed, and single rows of float64."""
        row = 1 if self.is_flat else inputs[0].numel // max(inputs[0].shape[0], 1)
        return Workspace(fixed_bytes=8 * (4 * GATHER_ELEMENTS + _WORKSPACE_ROWS * row))

    def settings(self) -> str:
        """What is done."""
        return self.what
