"""Statistics: what reductions make of the partial results of tiles, and what follows from them.

Small numpy arrays on the host, whoever computed the partial results.
"""

from graphmerge.statistics import magnitude, spherical, sums  # noqa: F401 - registers them
from graphmerge.statistics.registry import (
    Partial,
    Reduction,
    Statistic,
    ops_with_statistics,
    reduction,
    small,
)

__all__ = [
    "Partial",
    "Reduction",
    "Statistic",
    "ops_with_statistics",
    "reduction",
    "small",
]
