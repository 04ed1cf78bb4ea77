"""The importance of changes by how far they move a row's softmax (Arcee Fusion)."""

from __future__ import annotations

from typing import ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space, Workspace
from graphmerge.ops.checks import all_in, same_compute_spec
from graphmerge.ops.rescale import SCALAR
from graphmerge.ops.small import AbstractSmall
from graphmerge.spec import DType, TensorSpec

NUMPY_BYTES = 2**16
"""At least what numpy takes to go through the rows of a matrix: some 50 KB."""
FLOOR = 1e-8
"""What is added to every probability."""
ROW_LANES = 16
"""Lanes of a sum over a row; changing it changes results in the last bit."""
GROUP_ELEMENTS = 16384
"""Entries of the rows that numpy goes through at once, so that they stay in cache."""
NUMPY_BUFFERS = 6
"""Float64 arrays of so many entries, or of a longer row, that it has for them."""


def divergence_bytes(row: int) -> int:
    """What native code takes for the divergence of a row: both in float64, in whole vectors.

    Of rows near each other both are float32.
    """
    return 2 * 8 * -(-row // ROW_LANES) * ROW_LANES


def row_elements(spec: TensorSpec) -> int:
    """Elements of a row: the last axis; 1 for a single number."""
    return max(spec.shape[-1], 1) if spec.shape else 1


@frozen(cache_hash=True)
class RowDivergence(Op):
    """KL(p || q) of each row of two tensors, with p and q their softmax plus 1e-8, in float64.

    Defined to the last bit, all steps rounded: with m the largest entry, p is FLOOR more than
    exp(x - m) times 1 over the sum of all of them. The divergence is the sum of
    p log(p / q) - (p - q), which is that of p log(p / q), since p and q add up to the same, and has
    hardly an error where they are nearly equal. It is 0 where rounding has made it less, and NaN of
    rows with NaN or +infinity, or with -infinity alone. Functions are those of
    `graphmerge.ops.elementary`; of a sum, entry j is added to lane j mod ROW_LANES, in order, and
    then the upper half of the lanes to the lower half until one is left. Of float32 rows that are
    near each other it is what `graphmerge.ops.near_rows` says.
    """

    kind: ClassVar[str] = "row-divergence"
    access: ClassVar[Access] = Access.REDUCE
    row_wise: ClassVar[bool] = True

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """A number per row."""
        spec = same_compute_spec(inputs)
        return TensorSpec((spec.numel // row_elements(spec),), DType.F64)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic of weights."""
        all_in(Space.WEIGHT, inputs, "a divergence is taken of two weights")
        return Space.STATISTIC

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Native code, row by row."""
        return Fusion(whole_rows=True)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A group of rows, with lanes and a mask; and some numbers for each row of the tile."""
        row = row_elements(inputs[0])
        group = (8 * (NUMPY_BUFFERS + 2) + 1) * max(GROUP_ELEMENTS, row)
        return Workspace(-(-32 // row), fixed_bytes=group)

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """A number per row."""
        return 8 * (inputs[0].numel // row_elements(inputs[0]))


@frozen(cache_hash=True)
class Importance(Op):
    """|x| times the statistic's number for the row, of inputs (x, statistic)."""

    kind: ClassVar[str] = "importance"
    access: ClassVar[Access] = Access.ELEMENTWISE
    scheduled_alike: ClassVar[bool] = True

    row: int
    """Elements of a row, as the spec says."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Unchanged."""
        return same_compute_spec(inputs[:1])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """A factor for each element of a chunk first."""
        return Fusion(spread_numbers=1)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta: what is selected by is of the kind that is selected from."""
        all_in(Space.STATISTIC, inputs[1:], "rows are weighted by a statistic")
        return all_in(Space.DELTA, inputs[:1], "only task vectors have an importance")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The factor of each element."""
        return (inputs[0].dtype,)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Factors of whole rows in float64."""
        return Workspace(8, fixed_bytes=16 * self.row + NUMPY_BYTES)


@frozen(cache_hash=True)
class QuartileThreshold(AbstractSmall):
    """median + 1.5 (q75 - q25), of the statistic of the last digits of these three, in order."""

    kind: ClassVar[str] = "quartile-threshold"
    why: ClassVar[str] = "a threshold comes from order statistics"

    dtype: DType
    """Dtype of the magnitudes, in which it is computed."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One number."""
        return SCALAR


@frozen(cache_hash=True)
class KeepImportant(Op):
    """x where its importance reaches a threshold, of inputs (x, importance, threshold)."""

    kind: ClassVar[str] = "keep-important"
    access: ClassVar[Access] = Access.ELEMENTWISE
    scheduled_alike: ClassVar[bool] = True

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(inputs[:-1])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Comparisons in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        all_in(Space.STATISTIC, inputs[-1:], "the threshold is a statistic")
        return all_in(Space.DELTA, inputs[:-1], "only task vectors are sparsified")

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A mask."""
        return Workspace(1)
