"""How the rules of `graphmerge.ops.matrix_rules` merge matrices: lists of tensors to a tensor.

The matrices may be whole task vectors or cores; the result is in float64. Sizes of what is alive at
once are those that the rules declare.

Names end in shapes: m rows, n columns (r, c the shorter and the longer side), k directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graphmerge.kernels.factorise import (
    directions,
    inverse,
    least_squares,
    made_orthogonal,
    spectrum,
    with_ridge,
)
from graphmerge.ops.matrix_rules import (
    ActMat,
    Cart,
    IsoC,
    IsoCts,
    MatrixRule,
    Star,
    TsvM,
    Wudi,
    is_dual,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@singledispatch
def merged(rule: MatrixRule, matrices: Sequence[Tensor]) -> Tensor:
    """The matrix that a rule makes of matrices of one shape."""
    raise NotImplementedError(rule)


def merged_lying(rule: MatrixRule, matrices: Sequence[Tensor]) -> Tensor:
    """The same, with the shorter side as rows where the rule does not care which is which."""
    rows, columns = matrices[0].shape
    if rule.either_way and rows > columns:
        return merged(rule, [x.T for x in matrices]).T
    return merged(rule, matrices)


@merged.register
def star(rule: Star, matrices: Sequence[Tensor]) -> Tensor:
    """Mean of U_r S_r V_r^T * sum(S) / sum(S_r), that is U_r U_r^T T * sum(S) / sum(S_r)."""
    total_rc = zeros(matrices[0].shape, matrices)
    for x in matrices:
        _add_cut(total_rc, x.double(), rule.eta, 1 / len(matrices))
    return total_rc


def _add_cut(total_rc: Tensor, x_rc: Tensor, eta: float, factor: float) -> None:
    """Add the matrix, cut to the share `eta` of its nuclear norm, and scaled to all of it."""
    sigma_r, u_rr = spectrum(x_rc)
    sums_r = sigma_r.flip(0).cumsum(0)
    if sums_r[-1] == 0:
        return
    kept = 1 + int((sums_r < eta * sums_r[-1]).sum())
    u_rk = u_rr[:, u_rr.shape[1] - kept :]
    total_rc.addmm_(u_rk, u_rk.T @ x_rc, alpha=factor * float(sums_r[-1] / sums_r[kept - 1]))


@merged.register
def tsv_m(rule: TsvM, matrices: Sequence[Tensor]) -> Tensor:
    """U diag(S) V^T of the first r / count singular directions of all, U and V orthogonal."""
    count, (shorter, longer) = len(matrices), matrices[0].shape
    rank = max(1, shorter // count)
    u_rk, v_ck, s_k = (zeros((*n, rank * count), matrices) for n in ((shorter,), (longer,), ()))
    for index, x in enumerate(matrices):
        part = slice(index * rank, (index + 1) * rank)
        directions(x.double(), rank, (u_rk[:, part], v_ck[:, part], s_k[part]))
    return made_orthogonal(u_rk, s_k, v_ck)


@merged.register
def iso_c(rule: IsoC, matrices: Sequence[Tensor]) -> Tensor:
    """mean(S) U V^T of the sum, over the directions that it has."""
    total_rc = summed(matrices)
    sigma_r, u_rr = spectrum(total_rc)
    scales_r = sigma_r.mean() * inverse(sigma_r)
    return ((u_rr * scales_r) @ u_rr.T) @ total_rc


@merged.register
def iso_cts(rule: IsoCts, matrices: Sequence[Tensor]) -> Tensor:
    """mean(S) U V^T of common directions and those of each matrix beside the common U."""
    if matrices[0].shape[0] > matrices[0].shape[1]:
        return _iso_cts(rule, [x.T for x in matrices], on_left=False).T
    return _iso_cts(rule, matrices, on_left=True)


def _iso_cts(rule: IsoCts, matrices: Sequence[Tensor], *, on_left: bool) -> Tensor:
    """The same for lying matrices; the common U is that of standing ones if not `on_left`."""
    count, (shorter, longer) = len(matrices), matrices[0].shape
    common, specific = rule.ranks(count, shorter, longer)
    u_rk, v_ck, s_k = (zeros((*n, shorter), matrices) for n in ((shorter,), (longer,), ()))
    u_common, v_common = u_rk[:, :common], v_ck[:, :common]
    directions(summed(matrices), common, (u_common, v_common, s_k[:common]))
    for index, x in enumerate(matrices if specific else ()):
        part = slice(common + index * specific, common + (index + 1) * specific)
        beside = _without_rows(x, u_common) if on_left else _without_columns(x, v_common)
        directions(beside, specific, (u_rk[:, part], v_ck[:, part], s_k[part]))
        del beside  # before the next one is made
    strength = s_k.mean().expand(shorter)
    return made_orthogonal(u_rk, strength, v_ck)


def _without_rows(x: Tensor, u_rk: Tensor) -> Tensor:
    """X - U U^T X."""
    x_rc = x.to(torch.float64, copy=True)
    return x_rc.addmm_(u_rk, u_rk.T @ x_rc, alpha=-1)


def _without_columns(x: Tensor, v_ck: Tensor) -> Tensor:
    """X - X V V^T."""
    x_rc = x.to(torch.float64, copy=True)
    return x_rc.addmm_(x_rc @ v_ck, v_ck.T, alpha=-1)


@merged.register
def wudi(rule: Wudi, matrices: Sequence[Tensor]) -> Tensor:
    """Every matrix counts by 1 / ||T||^2; one that is zero does not count."""
    squares = [float(torch.linalg.vector_norm(x, dtype=torch.float64)) ** 2 for x in matrices]
    weights = [1 / square if square else 0.0 for square in squares]
    return regression(matrices, weights, with_ridge, rule.ridge)


@merged.register
def actmat(rule: ActMat, matrices: Sequence[Tensor]) -> Tensor:
    """By the pseudo-inverse."""
    return regression(matrices, rule.weights, least_squares, 0.0)


@merged.register
def cart(rule: Cart, matrices: Sequence[Tensor]) -> Tensor:
    """mean + scale * sum_i U_r U_r^T (T_i - mean)."""
    mean_rc = summed(matrices).div_(len(matrices))
    kept = int(rule.rank * min(mean_rc.shape)) or int(rule.rank > 0)
    result_rc = mean_rc.clone()
    for x in matrices if kept else ():
        _add_main(result_rc, x - mean_rc, kept, rule.scale)
    return result_rc


def _add_main(result_rc: Tensor, x_rc: Tensor, kept: int, scale: float) -> None:
    """Add the first singular directions of a matrix."""
    _, u_rr = spectrum(x_rc)
    u_rk = u_rr[:, u_rr.shape[1] - kept :]
    result_rc.addmm_(u_rk, u_rk.T @ x_rc, alpha=scale)


def regression(
    matrices: Sequence[Tensor],
    weights: Sequence[float],
    solve: Callable[[Tensor, Tensor], Tensor],
    ridge: float,
) -> Tensor:
    """(sum_i w_i T_i G_i)(sum_i w_i G_i + ridge I)^-1 with G_i = T_i^T T_i.

    With A the rows of all sqrt(w_i) T_i this is H (A A^T + ridge I)^-1 A, where H has the columns
    sqrt(w_i) T_i T_i^T: fewer unknowns where all matrices together have fewer rows than columns.
    """
    rows, columns = matrices[0].shape
    if is_dual(len(matrices), rows, columns):
        return _regression_over_rows(matrices, weights, solve, ridge)
    equations_nn = zeros((columns, columns), matrices)
    right_mn = zeros((rows, columns), matrices)
    for x, weight in zip(matrices, weights, strict=True):
        _add_equations(equations_nn, right_mn, x.double(), weight)
    equations_nn.diagonal().add_(ridge)
    return solve(equations_nn, right_mn.T).T


def _add_equations(equations_nn: Tensor, right_mn: Tensor, x_mn: Tensor, weight: float) -> None:
    gram_nn = x_mn.T @ x_mn
    right_mn.addmm_(x_mn, gram_nn, alpha=weight)
    equations_nn.add_(gram_nn, alpha=weight)


def _regression_over_rows(
    matrices: Sequence[Tensor],
    weights: Sequence[float],
    solve: Callable[[Tensor, Tensor], Tensor],
    ridge: float,
) -> Tensor:
    count, (rows, columns) = len(matrices), matrices[0].shape
    all_tn = zeros((count * rows, columns), matrices)
    right_mt = zeros((rows, count * rows), matrices)
    for index, (x, weight) in enumerate(zip(matrices, weights, strict=True)):
        all_tn[index * rows : (index + 1) * rows].copy_(x).mul_(weight**0.5)
    equations_tt = all_tn @ all_tn.T
    for index, weight in enumerate(weights):
        part = slice(index * rows, (index + 1) * rows)
        if weight:
            right_mt[:, part].copy_(equations_tt[part, part].T).div_(weight**0.5)
    equations_tt.diagonal().add_(ridge)
    return solve(equations_tt, right_mt.T).T @ all_tn


def summed(matrices: Sequence[Tensor]) -> Tensor:
    """Their sum in float64."""
    total = zeros(matrices[0].shape, matrices)
    for x in matrices:
        total += x
    return total


def zeros(shape: tuple[int, ...] | torch.Size, like: Sequence[Tensor]) -> Tensor:
    """Float64 zeros on the device of the matrices."""
    return torch.zeros(shape, dtype=torch.float64, device=like[0].device)
