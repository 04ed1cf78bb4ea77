"""See or delay what is read from files, by Python or by native code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphmerge.execution.reading import FileReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from graphmerge.checkpoint.values import TensorEntry


def before_reads(
    action: Callable[[Sequence[TensorEntry]], None],
    patch: Callable[[type, str, Any], None] = setattr,
) -> None:
    """Have something done before every read of a tile, which is told what is read.

    Small tensors that lie one behind the other in a file are read without it.

    Args:
        action: What is done, by the thread that is about to read.
        patch: Sets an attribute of a class, for a while or for good.
    """
    read, places = FileReader.read, FileReader.places

    def late_read(self: FileReader, entry: TensorEntry, *arguments: Any) -> None:
        action([entry])
        read(self, entry, *arguments)

    def late_places(
        self: FileReader, entries: Sequence[TensorEntry], start: int
    ) -> AbstractContextManager[list[tuple[int, int]]]:
        action(entries)
        return places(self, entries, start)

    patch(FileReader, "read", late_read)
    patch(FileReader, "places", late_places)
