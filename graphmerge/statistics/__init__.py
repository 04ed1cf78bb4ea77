"""Statistics: what reductions make of the partial results of tiles, and what follows from them.

Small numpy arrays on the host, whoever computed the partial results.
"""

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
