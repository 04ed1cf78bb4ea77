"""Where finished tiles go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.execution.reading import Bytes


class Sink(Protocol):
    """Takes output tensors tile by tile; called from worker threads."""

    def write(self, name: str, start_element: int, data: Bytes) -> None:
        """Bytes of an output tensor from a flat index on; tiles come in any order, each once."""

    def write_whole(self, names: Sequence[str], data: Bytes) -> None:
        """Whole output tensors of one size, not empty, one behind the other; each once."""

    def finish(self, names: tuple[str, ...]) -> None:
        """All tiles of these tensors have been written."""
