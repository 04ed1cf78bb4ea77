"""A method over single elements."""

from __future__ import annotations

import torch
from torch import Tensor

import graphmerge as gm


@gm.merge_method(
    "example_median",
    access="elementwise",
    use_when="one of several models may be an outlier",
)
def example_median(tensors: list[Tensor], *, toward_mean: float = 0.0) -> Tensor:
    """The median of the models, element by element, moved towards their mean by a fraction."""
    stacked = torch.stack(tensors)
    middle = stacked.quantile(0.5, dim=0)
    return middle + toward_mean * (stacked.mean(dim=0) - middle)
