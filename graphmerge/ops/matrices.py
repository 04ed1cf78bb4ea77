"""Merging task vectors as matrices, by their singular vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.errors import GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Op, Space, Workspace
from graphmerge.ops.checks import all_in, same_compute_spec

if TYPE_CHECKING:
    from graphmerge.ops.matrix_rules import MatrixRule
    from graphmerge.spec import TensorSpec

MOST_LOST_BYTES = 32 * 2**20
"""What the allocator loses between blocks: with half of what is needed, up to this."""
MOST_KEPT_BYTES = 16 * 2**20
"""Freed blocks below 4 MiB, and buffers of the linear algebra library, that stay resident: measured
up to 6 MiB, and 0.8 more than 12 with what calibration varies by, in iso_cts by torch. Calibration
sees nothing of it, as it factorises a small matrix."""


@frozen(cache_hash=True)
class MergeMatrices(Op):
    """One matrix from the matrices of several task vectors, by a rule.

    In the core space (arXiv 2509.17786) every task vector is B_i A_i, U spans the columns of all
    B_i and V the rows of all A_i; the rule merges M_i = U^T B_i A_i V, and the result is U M V^T.
    For a stored task vector B_i A_i is its singular value decomposition, cut where singular values
    are zero to float64 rounding. So this loses nothing, and a side whose directions fill the whole
    space is left as it is.
    """

    kind: ClassVar[str] = "factorise"
    access: ClassVar[Access] = Access.WHOLE

    rule: MatrixRule
    """What is done with the matrices."""
    in_core: bool = False
    """Whether it is done in the core space."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec, of two axes."""
        spec = same_compute_spec(inputs)
        if len(spec.shape) != 2:
            raise GraphError(Problem("no matrix", got=str(list(spec.shape)), wanted="two axes"))
        return spec

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta, from deltas."""
        return all_in(Space.DELTA, inputs, "matrices that are merged are task vectors")

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Float64 matrices, as the rule says; in the core space their factors beside that."""
        rows, columns = inputs[0].shape
        count = len(inputs)
        if self.in_core:
            return matrix_workspace(core_doubles(self.rule, count, rows, columns))
        return matrix_workspace(self.rule.doubles(count, rows, columns))

    def settings(self) -> str:
        """The rule, and where it is applied."""
        return f"{self.rule!r}, core" if self.in_core else repr(self.rule)


def matrix_workspace(doubles: int) -> Workspace:
    """What arithmetic on matrices takes that allocates so many numbers of 8 bytes."""
    needed = 8 * doubles
    lost = min(needed // 2, MOST_LOST_BYTES) + min(needed, MOST_KEPT_BYTES)
    return Workspace(fixed_bytes=needed + lost)


def core_doubles(rule: MatrixRule, count: int, rows: int, columns: int) -> int:
    """The most of: factors of all and a decomposition; bases of all; the rule, on cores or without.

    Matrices are only merged by their cores where all ranks together are less than the longer side.
    """
    shorter, longer = sorted((rows, columns))
    size, square = shorter * longer, shorter * shorter
    rank = min(count * shorter, longer)
    left, right = min(rows, rank), min(columns, rank)
    factorising = (count - 1) * (size + square) + size + decomposition_doubles(shorter, longer)
    held = rank * (rows + columns)
    finding = held + longer * rank + decomposition_doubles(rank, longer) + square
    core = count * left * right + rule.doubles(count, left, right)
    applying = held + longer * rank + square + max(core, left * right + rows * right + size)
    return max(factorising, finding, applying, rule.doubles(count, rows, columns))


def decomposition_doubles(shorter: int, longer: int) -> int:
    """What the singular value decomposition of a matrix takes beside it.

    A copy, the vectors of the longer side and those of the shorter one, LAPACK's work.
    """
    return 2 * shorter * longer + 5 * shorter * shorter
