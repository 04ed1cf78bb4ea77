"""What ops compute: torch kernels over tiles, registered by op class."""

from graphmerge.kernels import (
    arithmetic,
    consensus,
    identical,
    magnitude,
    norms,
    random_drop,
    spherical,
)
from graphmerge.kernels.registry import Partial, Reduction, Statistic, Tile, kernel, reduction, small

__all__ = [
    "Partial",
    "Reduction",
    "Statistic",
    "Tile",
    "arithmetic",
    "consensus",
    "identical",
    "kernel",
    "magnitude",
    "norms",
    "random_drop",
    "reduction",
    "small",
    "spherical",
]
