"""What can be done with the task vectors of a matrix: rules that map matrices to one matrix.

Rules say what, and how much memory it takes; `graphmerge.kernels.matrix_rules` says how. They know
nothing of where the matrices come from: whole task vectors, or their cores in a smaller space.

Rows R and columns C stand for the shorter and the longer side where a rule does not care which is
which. All arithmetic is in float64, and so are the sizes: numbers of 8 bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_SINGULAR = 1e-6
"""Singular values below this share of the largest count as zero: a direction that has no strength
of its own is not blown up to that of the others."""
LEAST_ANGLE = 1e-4
"""Directions of several task vectors that are nearer to one another than this (in radians, about)
are one direction when they are made orthogonal."""


def spectrum_doubles(shorter: int) -> int:
    """What the left singular vectors of a matrix take: a Gram matrix, vectors, LAPACK's work."""
    return 4 * shorter * shorter + 16 * shorter


class MatrixRule(ABC):
    """Maps matrices of one shape to a matrix of that shape."""

    either_way: ClassVar[bool] = True
    """Whether the transposed matrices give the transposed result."""

    @abstractmethod
    def doubles(self, count: int, rows: int, columns: int) -> int:
        """Numbers that the rule allocates for `count` matrices, its result included."""


@frozen(cache_hash=True)
class Star(MatrixRule):
    """Mean of the matrices, each cut to its largest singular values and rescaled.

    arXiv 2502.10339: of each the fewest that make up `eta` of the nuclear norm are kept, and scaled
    so that the nuclear norm is what it was.
    """

    eta: float
    """Share of the nuclear norm, above 0 and up to 1."""

    def doubles(self, count: int, rows: int, columns: int) -> int:
        """The sum, one matrix, its vectors, and its part in their span."""
        shorter, size = min(rows, columns), rows * columns
        return 2 * size + max(spectrum_doubles(shorter), shorter * shorter + size)


@frozen(cache_hash=True)
class TsvM(MatrixRule):
    """Sum of the matrices, each cut to 1/count of its rank, their vectors made orthogonal.

    arXiv 2412.00081.
    """

    def doubles(self, count: int, rows: int, columns: int) -> int:
        """Vectors of all matrices, one matrix at a time, then orthogonalisation."""
        shorter, longer = sorted((rows, columns))
        rank = max(1, shorter // count)
        return _orthogonal_doubles(shorter, longer, rank * count, rank)


@frozen(cache_hash=True)
class IsoC(MatrixRule):
    """Sum of the matrices with all singular values set to their mean (arXiv 2502.04959)."""

    def doubles(self, count: int, rows: int, columns: int) -> int:
        """The sum, its vectors, its coordinates in them, and the result."""
        shorter, size = min(rows, columns), rows * columns
        return size + max(spectrum_doubles(shorter), 2 * size + 2 * shorter * shorter)


@frozen(cache_hash=True)
class IsoCts(MatrixRule):
    """Common directions of the sum beside some of each matrix, all of one strength.

    arXiv 2502.04959.
    """

    either_way: ClassVar[bool] = False
    common: float
    """Share of the rank that goes to the common directions, 0 to 1."""

    def ranks(self, count: int, rows: int, columns: int) -> tuple[int, int]:
        """Common directions, and those of each of `count` matrices: k + count * s is the rank."""
        rank = min(rows, columns)
        specific = min(round((rank - int(self.common * rank)) / count), rank // count)
        return rank - specific * count, specific

    def doubles(self, count: int, rows: int, columns: int) -> int:
        """As for TsvM, with all directions."""
        shorter, longer = sorted((rows, columns))
        return _orthogonal_doubles(shorter, longer, shorter, shorter)


@frozen(cache_hash=True)
class Wudi(MatrixRule):
    """argmin_x sum_i ||(x - t_i) t_i^T||^2 / ||t_i||^2, solved in closed form (arXiv 2503.08099).

    x = (sum_i c_i t_i G_i)(sum_i c_i G_i + ridge I)^-1 with G_i = t_i^T t_i, c_i = 1 / ||t_i||^2.
    """

    ridge: float
    """Added to the diagonal of a matrix whose trace is the number of matrices; above 0."""
    either_way: ClassVar[bool] = False

    def doubles(self, count: int, rows: int, columns: int) -> int:
        """The equations, and their solution by Cholesky."""
        return _regression_doubles(count, rows, columns, _cholesky_doubles)


@frozen(cache_hash=True)
class ActMat(MatrixRule):
    """(sum_i w_i t_i G_i)(sum_i w_i G_i)^+ with G_i = t_i^T t_i (arXiv 2604.01329)."""

    weights: tuple[float, ...]
    """w, none negative."""
    either_way: ClassVar[bool] = False

    def doubles(self, count: int, rows: int, columns: int) -> int:
        """The equations, and their solution by eigenvectors."""
        return _regression_doubles(count, rows, columns, _least_squares_doubles)


@frozen(cache_hash=True)
class Cart(MatrixRule):
    """Mean plus the main directions of what each matrix differs from it by (arXiv 2412.12153)."""

    rank: float
    """Share of the singular directions of each difference that is kept, 0 to 1."""
    scale: float
    """What the differences are multiplied by."""

    def doubles(self, count: int, rows: int, columns: int) -> int:
        """Mean, result, one difference; its vectors, and its part in their span."""
        shorter, size = min(rows, columns), rows * columns
        return 3 * size + max(spectrum_doubles(shorter), shorter * shorter + size)


def _orthogonal_doubles(shorter: int, longer: int, directions: int, of_one: int) -> int:
    """Vectors on either side; beside them one matrix and its vectors, or the orthogonalisation."""
    size, square = shorter * longer, directions * directions
    finding = size + max(
        spectrum_doubles(shorter), shorter * shorter + size, shorter * shorter + longer * of_one
    )
    orthogonal = square + spectrum_doubles(directions)
    combining = 2 * square + shorter * directions + size
    return (shorter + longer) * directions + max(finding, orthogonal, combining)


def is_dual(count: int, rows: int, columns: int) -> bool:
    """Whether a regression is solved over the rows of all matrices instead of over the columns."""
    return count * rows < columns


_Solving: TypeAlias = "Callable[[int, int], int]"
"""Numbers that solving takes, of so many unknowns with right sides of so many numbers; both of
these, which are there before, included."""


def _cholesky_doubles(unknowns: int, right: int) -> int:
    """Equations, their factor, and the right sides, whose place the solutions take."""
    return 2 * unknowns**2 + right + unknowns


def _least_squares_doubles(unknowns: int, right: int) -> int:
    """The equations' vectors; then these, right sides, their coordinates, and the solutions."""
    finding, using = spectrum_doubles(unknowns) + right, 2 * unknowns**2 + 3 * right
    return max(finding, using + 4 * unknowns)


def _regression_doubles(count: int, rows: int, columns: int, solving: _Solving) -> int:
    """A regression, which is solved over the columns, or over the rows of all matrices.

    Over the columns: forming the equations of a matrix and its Gram matrix, or solving them. Over
    the rows: beside all matrices solving the equations, or making the result of the solutions.
    """
    size = rows * columns
    if not is_dual(count, rows, columns):
        return max(2 * columns**2 + 2 * size, solving(columns, size))
    unknowns, right = count * rows, count * rows**2
    return count * size + max(solving(unknowns, right), unknowns**2 + 2 * right + size)
