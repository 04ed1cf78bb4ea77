"""A method over rows."""

from __future__ import annotations

import torch
from torch import Tensor

import graphmerge as gm


@gm.merge_method(
    "example_row_norm",
    access="rows",
    use_when="averaging shrinks rows that point in different directions",
)
def example_row_norm(tensors: list[Tensor], *, weight: list[float]) -> Tensor:
    """The weighted average, each row scaled to the weighted mean norm of the models' rows."""
    total = sum(weight)
    average = sum(w * x for w, x in zip(weight, tensors, strict=True)) / total
    norms = [
        w * torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        for w, x in zip(weight, tensors, strict=True)
    ]
    wanted = sum(norms) / total
    length = torch.linalg.vector_norm(average, dim=-1, keepdim=True)
    return average * torch.where(length > 0, wanted / length, torch.ones_like(length))
