"""Takes finished tiles: writes them, sums them up, notes finished tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphmerge.output.checksums import TensorChecksum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from graphmerge.output.journal import Journal
    from graphmerge.output.layout import ShardLayout
    from graphmerge.output.writer import ShardWriter


class CheckpointSink:
    """Where a run's output tensors go, tile by tile; safe to call from many threads."""

    def __init__(
        self,
        layout: ShardLayout,
        writer: ShardWriter,
        journal: Journal,
        finished: Mapping[str, str],
        *,
        durable: bool,
    ) -> None:
        self.checksums: dict[str, str] = dict(finished)
        self._layout = layout
        self._writer = writer
        self._journal = journal
        self._durable = durable
        self._open: dict[str, TensorChecksum] = {}

    def write(self, name: str, start_element: int, data: NDArray[Any]) -> None:
        """Write a tile of an output tensor.

        Raises:
            MachineError: the file system refused the write.
        """
        slot = self._layout.slots[name]
        self._writer.write(slot, start_element * slot.spec.dtype.bits // 8, data)
        checksum = self._open.get(name) or self._open.setdefault(name, TensorChecksum(slot.spec))
        checksum.update(start_element, data)

    def finish(self, names: tuple[str, ...]) -> None:
        """Note tensors as finished.

        Raises:
            MachineError: the journal cannot be written.
        """
        if self._durable:
            self._writer.fsync_all()
        done = {name: self._taken(name).hexdigest() for name in names}
        self._journal.append(done)
        self.checksums.update(done)

    def _taken(self, name: str) -> TensorChecksum:
        """The checksum of a tensor that is written; an empty one, if it has no elements."""
        return self._open.pop(name, None) or TensorChecksum(self._layout.slots[name].spec)
