"""Factorisations of matrices in float64, by one thread, without a choice left to the library.

Names end in shapes: m rows, n columns, r the shorter side, k directions. Singular vectors come from
the Gram matrix of the shorter side: its eigenvectors in float64 cost less than a singular value
decomposition in float32, and resolve singular values down to 1e-8 of the largest. What is computed
from them depends neither on their signs nor on the choice of vectors for equal singular values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # left out of its stubs

from graphmerge.errors import MachineError, Problem
from graphmerge.ops.matrix_rules import LEAST_ANGLE, LEAST_SINGULAR

if TYPE_CHECKING:
    from torch import Tensor


def eigenvectors(symmetric_rr: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues in rising order and eigenvectors as columns.

    Raises:
        MachineError: LAPACK gives up.
    """
    try:
        values_r, vectors_rr = torch.linalg.eigh(symmetric_rr)
    except LinAlgError as error:
        raise MachineError(Problem("a matrix cannot be factorised", got=str(error))) from error
    return values_r, vectors_rr


def spectrum(x_rn: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values in rising order, and left singular vectors as columns.

    Values that count as zero are zero.
    """
    squares_r, u_rr = eigenvectors(x_rn @ x_rn.T)
    sigma_r = squares_r.clamp_min_(0).sqrt_()
    sigma_r[sigma_r < LEAST_SINGULAR * sigma_r[-1]] = 0
    return sigma_r, u_rr


def singular_values(x_mn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, the singular values in falling order, and V^T, all accurate to float64 rounding.

    Raises:
        MachineError: LAPACK gives up.
    """
    try:
        u_mr, sigma_r, vh_rn = torch.linalg.svd(x_mn, full_matrices=False)
    except LinAlgError as error:
        raise MachineError(Problem("a matrix cannot be factorised", got=str(error))) from error
    return u_mr, sigma_r, vh_rn


def all_finite(*tensors: Tensor) -> bool:
    """Whether LAPACK takes them: it refuses NaN and infinity."""
    return all(bool(x.isfinite().all()) for x in tensors)


def inverse(values: Tensor) -> Tensor:
    """1 / x, and 0 for 0."""
    return torch.where(values == 0, 0.0, 1 / values)


def directions(x_rn: Tensor, count: int, out: tuple[Tensor, Tensor, Tensor]) -> None:
    """Write the first singular directions: left vectors (r, k), right ones (n, k), values (k).

    Directions without strength are columns of zeros.
    """
    left_rk, right_nk, sigma_k = out
    sigma_r, u_rr = spectrum(x_rn)
    u_rk = u_rr[:, u_rr.shape[1] - count :]
    sigma_k.copy_(sigma_r[len(sigma_r) - count :])
    left_rk.copy_(u_rk).mul_(sigma_k != 0)
    torch.mm(x_rn.T, u_rk, out=right_nk).mul_(inverse(sigma_k))


def inverse_root(x_mk: Tensor) -> Tensor:
    """(X^T X)^(-1/2), by which X becomes orthogonal, over the directions that X has.

    The factor of the polar decomposition. Columns that (nearly) coincide share a direction: nothing
    takes the place of the one that is missing.
    """
    squares_k, q_kk = eigenvectors(x_mk.T @ x_mk)
    smallest = LEAST_ANGLE**2 * squares_k[-1]
    roots_k = inverse(torch.where(squares_k > smallest, squares_k, 0.0)).sqrt_()
    return (q_kk * roots_k) @ q_kk.T


def made_orthogonal(left_rk: Tensor, strength_k: Tensor, right_nk: Tensor) -> Tensor:
    """U diag(strength) V^T with U and V the orthogonal matrices nearest to those given."""
    core_kk = inverse_root(left_rk).mul_(strength_k)
    core_kk = core_kk @ inverse_root(right_nk)
    return (left_rk @ core_kk) @ right_nk.T


def with_ridge(symmetric: Tensor, right: Tensor) -> Tensor:
    """X with (symmetric) X = right, by Cholesky: for matrices that a ridge makes definite.

    X takes the place of `right`: `torch.cholesky_solve` would copy both of its matrices.

    Raises:
        MachineError: the matrix is not definite.
    """
    try:
        lower = torch.linalg.cholesky(symmetric)
    except LinAlgError as error:
        raise MachineError(
            Problem("equations cannot be solved", got=str(error), hint="raise the ridge")
        ) from error
    torch.linalg.solve_triangular(lower, right, upper=False, out=right)
    torch.linalg.solve_triangular(lower.T, right, upper=True, out=right)
    return right


def least_squares(symmetric: Tensor, right: Tensor) -> Tensor:
    """(symmetric)^+ right, for a matrix without negative eigenvalues."""
    values, q = eigenvectors(symmetric)
    inverses = inverse(torch.where(values > LEAST_SINGULAR**2 * values[-1], values, 0.0))
    return q @ (q.T @ right).mul_(inverses[:, None])
