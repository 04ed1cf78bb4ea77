"""Which kernel computes which op.

An elementwise kernel writes a tile's result into a register that it is given. A reduction turns a
tile into a partial result without touching shared state, and combines partials into the state
under a lock. A small kernel maps statistics to a statistic. Statistics are numpy arrays on the
host.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from attrs import define

from graphmerge.graph import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import torch

    from graphmerge.spec import TensorSpec

Statistic: TypeAlias = "np.ndarray[Any, Any]"
Partial: TypeAlias = "np.ndarray[Any, Any]"
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
    """Flat index of the tile's first element: a multiple of the numerics block."""


@define(slots=True)
class ReducedTile:
    """What a reduction works on; every tensor is flat and as long as the tile."""

    inputs: Sequence[torch.Tensor]
    """Tiles of the tensor inputs; not to be written."""
    statistics: Sequence[Statistic]
    """The statistics among the op's inputs, in order."""
    scratch: Sequence[torch.Tensor]
    """Buffers to write to, as the op asked for."""


Kernel: TypeAlias = "Callable[[Any, Tile], None]"
Small: TypeAlias = "Callable[[Any, Sequence[Statistic]], Statistic]"


class Reduction(ABC):
    """The kernel of a reduction."""

    @abstractmethod
    def begin(self, op: Any, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """The state before any tile."""

    @abstractmethod
    def update(self, op: Any, tile: ReducedTile) -> Partial:
        """The partial result of one tile."""

    @abstractmethod
    def combine(self, state: Statistic, partial: Partial, start: int) -> None:
        """Take a tile's partial result into the state; called for every tile once, in any order."""

    @abstractmethod
    def finish(self, op: Any, state: Statistic, statistics: Sequence[Statistic]) -> Statistic:
        """The statistic, when every tile is in."""

    def known(self, op: Any, statistics: Sequence[Statistic]) -> Statistic | None:
        """The statistic, where those before it decide it already: then the pass may be skipped."""
        return None


_KERNELS: dict[type[Op], Kernel] = {}
_REDUCTIONS: dict[type[Op], Reduction] = {}
_SMALL: dict[type[Op], Small] = {}


def register_kernel(
    op: type[OpType],
) -> Callable[[Callable[[OpType, Tile], None]], Callable[[OpType, Tile], None]]:
    """Register the function as the elementwise kernel of an op class."""

    def register(function: Callable[[OpType, Tile], None]) -> Callable[[OpType, Tile], None]:
        _KERNELS[op] = function
        return function

    return register


def register_small(
    op: type[OpType],
) -> Callable[
    [Callable[[OpType, Sequence[Statistic]], Statistic]],
    Callable[[OpType, Sequence[Statistic]], Statistic],
]:
    """Register the function as the kernel from statistics to a statistic of an op class."""

    def register(
        function: Callable[[OpType, Sequence[Statistic]], Statistic],
    ) -> Callable[[OpType, Sequence[Statistic]], Statistic]:
        _SMALL[op] = function
        return function

    return register


def register_reduction(op: type[Op], kernel_of: Reduction) -> None:
    """Register the reduction of an op class."""
    _REDUCTIONS[op] = kernel_of


def kernel(op: Op) -> Kernel:
    """The elementwise kernel of an op."""
    return _KERNELS[type(op)]


def reduction(op: Op) -> Reduction:
    """The reduction of an op."""
    return _REDUCTIONS[type(op)]


def small(op: Op) -> Small:
    """The kernel from statistics to a statistic of an op."""
    return _SMALL[type(op)]


def registered_ops() -> set[type[Op]]:
    """Every op class that has a kernel."""
    return {*_KERNELS, *_REDUCTIONS, *_SMALL}
