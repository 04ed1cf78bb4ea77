"""Statistics: what reductions make of the partial results of tiles, and what follows from them.

Small numpy arrays on the host, whoever computed the partial results.
"""

from graphmerge.statistics import (  # noqa: F401 - importing them registers their statistics
    coefficients,
    competition,
    importance,
    karcher,
    magnitude,
    regions,
    regression,
    share,
    spherical,
    sums,
    vectors,
    whole_model,
)
from graphmerge.statistics.registry import (
    Fold,
    Partial,
    Reduction,
    Statistic,
    fold,
    reduction,
    small,
)

__all__ = [
    "Fold",
    "Partial",
    "Reduction",
    "Statistic",
    "fold",
    "reduction",
    "small",
]
