"""Merging low-rank task vectors by their factors: what adapters of one base add to a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.errors import GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Op, Space, Workspace
from graphmerge.ops.matrices import matrix_workspace
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from graphmerge.ops.matrix_rules import MatrixRule


@frozen
class FactoredDelta:
    """The task vector of one model."""

    rank: int
    """Rank of its factors; 0 where the model is the base, and has none."""
    scale: float = 1.0
    """What their product is multiplied by."""
    is_transposed: bool = False
    """Whether the product is transposed."""


@frozen(cache_hash=True)
class MergeFactors(Op):
    """One matrix from the factors of several task vectors, by a rule in the core space.

    What `MergeMatrices` does in the core space (arXiv 2509.17786), without making a task vector:
    singular values are those of matrices as large as the sum of the ranks. Inputs are A (rank,
    columns) and B (rows, rank) of every model that has factors, one after the other, as stored.
    """

    kind: ClassVar[str] = "factorise"
    access: ClassVar[Access] = Access.WHOLE

    rule: MatrixRule
    """What is done with the matrices."""
    shape: tuple[int, int]
    """Rows and columns of the matrix."""
    dtype: DType
    """Dtype of the result: that of the arithmetic."""
    deltas: tuple[FactoredDelta, ...]
    """Every task vector, at least one of them with factors."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The matrix."""
        pairs = list(zip(inputs[::2], inputs[1::2], strict=True))
        factored = [delta for delta in self.deltas if delta.rank]
        for (a, b), delta in zip(pairs, factored, strict=True):
            rows, columns = self.shape[::-1] if delta.is_transposed else self.shape
            if (a.shape, b.shape) != ((delta.rank, columns), (rows, delta.rank)):
                got = f"{list(a.shape)} and {list(b.shape)} for {list(self.shape)}"
                raise GraphError(Problem("factors that do not fit the matrix", got=got))
        return TensorSpec(self.shape, self.dtype)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """Factors are stored as weights are; their product is a delta."""
        return Space.DELTA

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """The factors in float64, bases of all, the cores with the rule, and the result."""
        (rows, columns), count = self.shape, len(self.deltas)
        rank = sum(delta.rank for delta in self.deltas)
        left, right = min(rows, rank), min(columns, rank)
        factors = 2 * rank * (rows + columns)
        bases = left * rows + right * columns
        finding = 4 * rank * max(rows, columns) + 8 * rank * rank
        cores = count * left * right + self.rule.doubles(count, left, right)
        result = rows * right + rows * columns
        return matrix_workspace(factors + bases + max(finding, cores, result))

    def settings(self) -> str:
        """The rule, and the ranks."""
        ranks = " + ".join(str(delta.rank) for delta in self.deltas)
        return f"{self.rule!r}, core of ranks {ranks}"
