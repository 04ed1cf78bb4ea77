"""Which kernel computes which op.

An elementwise kernel writes a tile's result into a register that it is given. A reduction's kernel
turns a tile into a partial result without touching shared state; `graphmerge.statistics` takes it
from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from attrs import define

from graphmerge.graph import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from graphmerge.statistics import Partial, Statistic

OpType = TypeVar("OpType", bound=Op)


@define(slots=True)
class Tile:
    """What an elementwise kernel works on; every tensor is flat and as long as the tile."""

    inputs: Sequence[torch.Tensor]
    """Tiles of the tensor inputs; not to be written."""
    statistics: Sequence[Statistic]
    """The statistics among the op's inputs, in order."""
    output: torch.Tensor
    """Where the result goes; the first input itself where the op allows it."""
    scratch: Sequence[torch.Tensor]
    """Buffers to write to, as the op asked for."""
    start: int
    """Flat index of the tile's first element: a multiple of what the op's access pattern needs."""
    shape: tuple[int, ...]
    """What the op sees: the tensor's shape, (rows, row length), or (elements,) by its access."""


@define(slots=True)
class ReducedTile:
    """What a reduction works on; every tensor is flat and as long as the tile."""

    inputs: Sequence[torch.Tensor]
    """Tiles of the tensor inputs; not to be written."""
    statistics: Sequence[Statistic]
    """The statistics among the op's inputs, in order."""
    scratch: Sequence[torch.Tensor]
    """Buffers to write to, as the op asked for."""
    start: int = 0
    """Flat index of the tile's first element."""
    shape: tuple[int, ...] = ()
    """(rows, row length) for an op that looks at rows."""


Kernel: TypeAlias = "Callable[[Any, Tile], None]"
Update: TypeAlias = "Callable[[Any, ReducedTile], Partial]"

_KERNELS: dict[type[Op], Kernel] = {}
_UPDATES: dict[type[Op], Update] = {}


def register_kernel(
    op: type[OpType],
) -> Callable[[Callable[[OpType, Tile], None]], Callable[[OpType, Tile], None]]:
    """Register the function as the elementwise kernel of an op class."""

    def register(function: Callable[[OpType, Tile], None]) -> Callable[[OpType, Tile], None]:
        _KERNELS[op] = function
        return function

    return register


def register_update(
    op: type[OpType],
) -> Callable[[Callable[[OpType, ReducedTile], Partial]], Callable[[OpType, ReducedTile], Partial]]:
    """Register the function as the kernel of a reduction: a tile to its partial result."""

    def register(
        function: Callable[[OpType, ReducedTile], Partial],
    ) -> Callable[[OpType, ReducedTile], Partial]:
        _UPDATES[op] = function
        return function

    return register


def kernel(op: Op) -> Kernel:
    """The elementwise kernel of an op."""
    return _KERNELS[type(op)]


def update(op: Op) -> Update:
    """The kernel of a reduction."""
    return _UPDATES[type(op)]
