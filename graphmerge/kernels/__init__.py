"""What ops compute: torch kernels over tiles, registered by op class."""

from graphmerge.kernels import (  # noqa: F401 - importing them registers their kernels
    arithmetic,
    block_sums,
    blockwise,
    competition,
    consensus,
    custom,
    fisher,
    identical,
    importance,
    joint_masks,
    magnitude,
    matrices,
    pointwise,
    random_drop,
    ranked,
    regions,
    regression,
    task_masks,
    variance,
    vectors,
)
from graphmerge.kernels.registry import ReducedTile, Tile, kernel, update

__all__ = ["ReducedTile", "Tile", "kernel", "update"]
