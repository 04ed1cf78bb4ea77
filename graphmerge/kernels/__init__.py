"""What ops compute: torch kernels over tiles, registered by op class."""

from graphmerge.kernels import (  # noqa: F401 - importing them registers their kernels
    arithmetic,
    consensus,
    identical,
    magnitude,
    norms,
    random_drop,
    spherical,
)
from graphmerge.kernels.registry import (
    Partial,
    ReducedTile,
    Reduction,
    Statistic,
    Tile,
    kernel,
    reduction,
    registered_ops,
    small,
)

__all__ = [
    "Partial",
    "ReducedTile",
    "Reduction",
    "Statistic",
    "Tile",
    "kernel",
    "reduction",
    "registered_ops",
    "small",
]
