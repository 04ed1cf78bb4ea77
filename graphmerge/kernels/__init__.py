"""What ops compute: torch kernels over tiles, registered by op class."""

from graphmerge.kernels import (  # noqa: F401 - importing them registers their kernels
    arithmetic,
    block_sums,
    consensus,
    custom,
    identical,
    magnitude,
    pointwise,
    random_drop,
)
from graphmerge.kernels.registry import ReducedTile, Tile, kernel, registered_ops, update

__all__ = ["ReducedTile", "Tile", "kernel", "registered_ops", "update"]
