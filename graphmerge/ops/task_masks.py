"""Masks of tasks as integers, and short lists of numbers, that are kept for a later merge.

What EMR-Merging (arXiv 2405.17461) stores beside its unified model: of every entry one bit for each
task, and one number for each task.
"""

from __future__ import annotations

from typing import ClassVar

from graphmerge.errors import GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Node, Op, Space
from graphmerge.ops.block_sums import AbstractBlockSums
from graphmerge.ops.checks import all_in, same_compute_spec
from graphmerge.ops.elementwise import AbstractEntrywise
from graphmerge.ops.rescale import SCALAR
from graphmerge.spec import DType, TensorSpec

MASK_DTYPES = (DType.U8, DType.U16, DType.U32, DType.U64)
"""Dtypes of masks, the smallest first: one bit for each task."""
SIGNED = {DType.U8: DType.I8, DType.U16: DType.I16, DType.U32: DType.I32, DType.U64: DType.I64}
"""The integers as wide as each mask, for kernels that compute with signed ones only."""
MOST_TASKS = MASK_DTYPES[-1].bits
"""Tasks that a mask has room for."""


def mask_dtype(tasks: int) -> DType:
    """The smallest dtype with a bit for each of so many tasks, 1 to `MOST_TASKS`."""
    return next(dtype for dtype in MASK_DTYPES if dtype.bits >= tasks)


@frozen(cache_hash=True)
class AgreementBits(AbstractEntrywise):
    """Bit i of an entry says whether x and y_i are both above or both below zero.

    Inputs are the delta x and the deltas y_0, y_1, ... at most `MOST_TASKS` of them.
    """

    kind: ClassVar[str] = "agreement-bits"

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common shape, in integers wide enough."""
        return same_compute_spec(inputs).with_dtype(mask_dtype(len(inputs) - 1))

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A record of deltas."""
        all_in(Space.DELTA, inputs, "signs of task vectors are compared")
        return Space.RECORD

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """Where x is above and below zero, where y is, all bits so far, and those of one y."""
        return (*(DType.BOOL,) * 4, *(DType.I64,) * 2)


@frozen(cache_hash=True)
class KeepWhereBit(AbstractEntrywise):
    """x where one bit of a mask is set, else 0; of inputs (x, mask)."""

    kind: ClassVar[str] = "keep-where-bit"

    bit: int
    """Which bit, 0 for the least."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """That of x."""
        x, mask = inputs
        if mask.shape != x.shape or mask.dtype not in MASK_DTYPES or mask.dtype.bits <= self.bit:
            wanted = f"{mask_dtype(self.bit + 1)} or wider, of shape {list(x.shape)}"
            raise GraphError(Problem("this is no mask for it", got=str(mask), wanted=wanted))
        return same_compute_spec((x,))

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta; the mask comes from a file, or from the op that makes it."""
        return all_in(Space.DELTA, inputs[:1], "masks are put on task vectors")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The bit, and the same as a factor."""
        return (SIGNED[inputs[1].dtype], inputs[0].dtype)

    def settings(self) -> str:
        """The bit."""
        return f"{self.bit}"


@frozen(cache_hash=True)
class NumberAt(AbstractBlockSums):
    """One entry of a tensor of at most `MOST_TASKS`, as a statistic."""

    kind: ClassVar[str] = "number-at"
    scheduled_alike: ClassVar[bool] = True

    place: int
    """Flat index of the entry."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One number."""
        spec = same_compute_spec(inputs)
        assert self.place < spec.numel <= MOST_TASKS, "lists of numbers are checked before"
        return SCALAR

    def sum_columns(self, count: int) -> int:
        """One, in which all other entries are zero."""
        return 1

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic."""
        return Space.STATISTIC

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The entry among zeros, in float64."""
        return (DType.F64,)

    def simplified(self, node: Node) -> Node:
        """Of numbers that were listed, the number itself."""
        (source,) = node.inputs
        return source.inputs[self.place] if isinstance(source.op, ListNumbers) else node

    def settings(self) -> str:
        """The place."""
        return f"{self.place}"


@frozen(cache_hash=True)
class ListNumbers(Op):
    """Statistics of one number each, as a float64 tensor of shape (inputs,) for the output."""

    kind: ClassVar[str] = "list-numbers"
    access: ClassVar[Access] = Access.SMALL

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One entry per input."""
        assert all(spec == SCALAR for spec in inputs), "single numbers are listed"
        return TensorSpec((len(inputs),), DType.F64)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A record of statistics."""
        all_in(Space.STATISTIC, inputs, "statistics are listed")
        return Space.RECORD
