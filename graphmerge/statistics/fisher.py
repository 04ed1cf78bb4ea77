"""What each model's importance is multiplied by, in an average by entries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.ops.fisher import FisherAverage
    from graphmerge.statistics.registry import Statistic


def coefficients(op: FisherAverage, statistics: Sequence[Statistic]) -> tuple[float, ...]:
    """The weights, each over the norm of the model's whole Fisher matrix if there are norms."""
    if not op.has_norms:
        return op.weights
    norms = (math.sqrt(square) or 1.0 for square in statistics[0])
    return tuple(weight / norm for weight, norm in zip(op.weights, norms, strict=True))
