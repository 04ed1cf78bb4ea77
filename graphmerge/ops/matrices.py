"""Merging task vectors as matrices, by their singular vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from graphmerge.errors import GraphError, Problem
from graphmerge.graph import Access, Op, Space, Workspace
from graphmerge.ops.checks import all_in, same_compute_spec

if TYPE_CHECKING:
    from graphmerge.ops.matrix_rules import MatrixRule
    from graphmerge.spec import TensorSpec

LIBRARY_BYTES = 24 * 2**20
"""Buffers of the linear algebra library, whatever the size of the matrices."""


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
        doubles = self.rule.doubles(count, rows, columns)
        if self.in_core:
            doubles += core_doubles(count, rows, columns)
        return Workspace(fixed_bytes=8 * doubles + LIBRARY_BYTES)

    def settings(self) -> str:
        """The rule, and where it is applied."""
        return f"{self.rule!r}, core" if self.in_core else repr(self.rule)


def core_doubles(count: int, rows: int, columns: int) -> int:
    """Factors of all matrices, and the decomposition of one of them."""
    shorter, longer = sorted((rows, columns))
    size, square = shorter * longer, shorter * shorter
    factors = count * (size + square)
    return factors + 3 * size + 6 * square
