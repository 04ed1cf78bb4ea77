"""Order statistics as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops import Magnitudes
from graphmerge.spec import DType
from graphmerge.statistics.registry import Statistic, register_small

if TYPE_CHECKING:
    from collections.abc import Sequence


@register_small(Magnitudes)
def magnitudes(op: Magnitudes, statistics: Sequence[Statistic]) -> Statistic:
    """The number of each row's bits."""
    bits = statistics[0][:, 0]
    if op.dtype is DType.F32:
        return bits.astype(np.int32).view(np.float32).astype(np.float64)
    return bits.view(np.float64).copy()
