"""Takes finished tiles: writes them, sums them up, notes finished tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphmerge.output.buffers import byte_view
from graphmerge.output.checksums import TensorChecksum, checksum_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from graphmerge.output.journal import Journal
    from graphmerge.output.layout import ShardLayout
    from graphmerge.output.writer import ShardWriter


class CheckpointSink:
    """Where a run's output tensors go, tile by tile; safe to call from many threads.

    There is a journal of outputs that can be continued.
    """

    def __init__(
        self,
        layout: ShardLayout,
        writer: ShardWriter,
        journal: Journal | None,
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
        self._whole: dict[str, str] = {}

    def write(self, name: str, start_element: int, data: NDArray[Any]) -> None:
        """Write a tile of an output tensor.

        Raises:
            MachineError: the file system refused the write.
        """
        slot = self._layout.slots[name]
        self._writer.write(slot, start_element * slot.spec.dtype.bits // 8, data)
        checksum = self._open.get(name) or self._open.setdefault(name, TensorChecksum(slot.spec))
        checksum.update(start_element, data)

    def write_whole(self, names: Sequence[str], data: NDArray[Any]) -> None:
        """Write output tensors of one size that lie one behind the other.

        Raises:
            MachineError: the file system refused the write.
        """
        slots = [self._layout.slots[name] for name in names]
        self._writer.write_whole(slots, data)
        view, size = byte_view(data), slots[0].spec.nbytes
        for number, slot in enumerate(slots):
            piece = view[number * size : (number + 1) * size]
            self._whole[slot.name] = checksum_of(piece, slot.spec)

    def finish(self, names: tuple[str, ...]) -> None:
        """Note tensors as finished.

        Raises:
            MachineError: the journal cannot be written.
        """
        if self._durable:
            self._writer.fsync_all()
        done = {name: self._whole.pop(name, "") or self._taken(name).hexdigest() for name in names}
        if self._journal is not None:
            self._journal.append(done)
        self.checksums.update(done)

    def _taken(self, name: str) -> TensorChecksum:
        """The checksum of a tensor that is written; an empty one, if it has no elements."""
        return self._open.pop(name, None) or TensorChecksum(self._layout.slots[name].spec)
