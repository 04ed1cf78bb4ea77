"""A tile, and what an executor makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.execution.reading import Bytes
    from graphmerge.graph import Node
    from graphmerge.native import FilePlace
    from graphmerge.schedule.passes import Pass
    from graphmerge.statistics import Partial, Statistic


@frozen(eq=False)
class TileTask:
    """One tile of one pass."""

    part: Pass
    """The pass."""
    start: int
    """Flat index of the first element."""
    stop: int
    """Flat index after the last element."""
    first_reads: frozenset[Node]
    """Loads that this pass reads first: the other kept ones, and stored ones, are in memory."""
    statistics: Mapping[Node, Statistic]
    """What the passes before have made."""
    in_memory: Mapping[Node, Bytes]
    """Tensors that are not read into a buffer of the worker."""
    tensors: int = 1
    """Tensors that one call works on: several small ones lie one behind the other, whole."""
    is_stack: bool = False
    """Whether it is small tensors, even if just one: those are read before the call."""
    room: Bytes | None = None
    """Where the tile's result is to be for others, if they need it in memory."""

    @property
    def looks(self) -> bool:
        """Whether to look for NaN and infinity in loads: no pass before has."""
        return bool(self.first_reads)


@frozen(eq=False)
class TileOutcome:
    """What came out of the program."""

    partials: Mapping[Node, Partial]
    """Partial result of every reduction."""
    output: Bytes | None
    """Bytes of the output's tile, or of all tensors: the task's room, or in the worker's memory and
    gone with the next."""
    not_finite: tuple[Node, ...]
    """Loads in which NaN or infinity was seen."""
    is_finite: bool = True
    """Whether what was computed of the output has neither; copies are what was read."""
    unread: Node | None = None
    """A load that native code could not read: then there is nothing else."""


class Tiles(Protocol):
    """Runs one program on tiles of one length."""

    def bind(self, task: TileTask) -> None:
        """Go on to the program of another task, which has the same fused layout."""

    def run(
        self, task: TileTask, stored: Mapping[Node, Bytes], files: Mapping[Node, FilePlace]
    ) -> TileOutcome:
        """Run the program on a tile.

        Args:
            task: The tile.
            stored: The stored bytes of every load, or room for what is in a file.
            files: Where the tile begins in the files of loads that native code reads itself.

        Raises:
            CheckpointError: inputs that must be identical differ.
        """
