"""Sums of lanes, as native code folds them: for arrays of numpy and tensors of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    import numpy as np

Lanes = TypeVar("Lanes", "np.ndarray[Any, np.dtype[np.float64]]", torch.Tensor)


def folded(lanes: Lanes) -> Lanes:
    """The upper half of the lanes added to the lower half until one is left.

    Args:
        lanes: Shape (sums, lanes), the lanes a power of two.

    Returns:
        Shape (sums).
    """
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]
