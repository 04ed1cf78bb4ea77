"""A method over whole tensors."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

import graphmerge as gm


@gm.merge_method(
    "example_spectral",
    use_when="the scale of matrices matters more than that of their entries",
)
def example_spectral(
    tensors: list[Tensor], *, norm: Literal["spectral", "frobenius"] = "spectral", steps: int = 20
) -> Tensor:
    """The average, scaled to the mean norm of the models; vectors are averaged only."""
    average = torch.stack(tensors).mean(dim=0)
    if average.ndim < 2 or average.numel() == 0:
        return average
    wanted = sum(_norm(x, norm, steps) for x in tensors) / len(tensors)
    length = _norm(average, norm, steps)
    return average * torch.where(length > 0, wanted / length, torch.ones_like(length))


def _norm(x: Tensor, norm: str, steps: int) -> Tensor:
    """Frobenius norm, or the largest singular value by power iteration from a fixed vector."""
    matrix = x.flatten(1)
    if norm == "frobenius":
        return torch.linalg.vector_norm(matrix)
    v = torch.ones(matrix.shape[1], dtype=x.dtype)
    for _ in range(steps):
        v = matrix.T @ (matrix @ v)
        v = v / torch.linalg.vector_norm(v).clamp_min(1e-30)
    return torch.linalg.vector_norm(matrix @ v)
