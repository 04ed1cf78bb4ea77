"""Merging in the core space of low-rank matrices (arXiv 2509.17786).

Names end in shapes: m rows, n columns, k rank of one matrix, p and q directions of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch

from graphmerge.kernels.factorise import singular_values
from graphmerge.kernels.matrix_rules import merged_lying

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from graphmerge.ops.matrix_rules import MatrixRule

Factors: TypeAlias = "tuple[Tensor, Tensor]"
"""B (m, k) and A (k, n) of a matrix B A, in float64."""


def merged_in_core(rule: MatrixRule, matrices: Sequence[Tensor]) -> Tensor:
    """U f(U^T X_1 V, ...) V^T, where no matrix has anything outside of U and V.

    Matrices that together fill the space on both sides are merged as they are.
    """
    factors = [factorised(x.double()) for x in matrices]
    rows, columns = matrices[0].shape
    rank = sum(b_mk.shape[1] for b_mk, _ in factors)
    if rank >= max(rows, columns):
        del factors
        return merged_lying(rule, matrices)
    return merged_factors(rule, factors)


def merged_factors(rule: MatrixRule, factors: Sequence[Factors]) -> Tensor:
    """The same for matrices that are given as factors."""
    u_mp, v_nq = bases(factors)
    cores = [(u_mp.T @ b_mk) @ (a_kn @ v_nq) for b_mk, a_kn in factors]
    if 0 in cores[0].shape:
        return torch.zeros(len(u_mp), len(v_nq), dtype=torch.float64, device=u_mp.device)
    return u_mp @ merged_lying(rule, cores) @ v_nq.T


def bases(factors: Sequence[Factors]) -> Factors:
    """Orthonormal U (m, p) and V (n, q): all columns of the B_i, and all rows of the A_i."""
    u_mp = _orthonormal(torch.cat([b_mk for b_mk, _ in factors], dim=1))
    return u_mp, _orthonormal(torch.cat([a_kn.T for _, a_kn in factors], dim=1))


def factorised(x_mn: Tensor) -> Factors:
    """B = U S and A = V^T of the singular value decomposition, without what is zero in it."""
    u, sigma, vh = singular_values(x_mn)
    rank = numerical_rank(sigma, max(x_mn.shape))
    return u[:, :rank] * sigma[:rank], vh[:rank].clone()


def numerical_rank(sigma: Tensor, longest: int) -> int:
    """Singular values, in falling order, above float64 rounding of the largest."""
    least = longest * torch.finfo(torch.float64).eps * sigma[:1].sum()
    return int((sigma > least).sum())


def _orthonormal(x_mk: Tensor) -> Tensor:
    """An orthonormal basis of the columns; the unit matrix where they may fill the space."""
    if x_mk.shape[1] >= x_mk.shape[0]:
        return torch.eye(len(x_mk), dtype=x_mk.dtype, device=x_mk.device)
    u, sigma, _ = singular_values(x_mk)
    return u[:, : numerical_rank(sigma, max(x_mk.shape))]
