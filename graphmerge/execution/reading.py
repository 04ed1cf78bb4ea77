"""Reads ranges of stored tensors into buffers, by pread."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from graphmerge.errors import CheckpointError, MachineError, Problem

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    import numpy as np

    from graphmerge.checkpoint.values import TensorEntry

Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"


class FileReader:
    """Open input files, shared by all workers; a file is opened at its first read."""

    def __init__(self) -> None:
        self._descriptors: dict[Path, int] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> FileReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def read(self, entry: TensorEntry, start_element: int, buffer: Bytes) -> None:
        """Fill the buffer with a tensor's bytes from an element on; safe to call from many threads.

        Raises:
            CheckpointError: the file ends early.
            MachineError: the file cannot be opened or read.
        """
        position = entry.offset + start_element * entry.spec.dtype.bits // 8
        view = buffer.data
        try:
            descriptor = self._descriptor(entry.file)
            while view:
                count = os.preadv(descriptor, [view], position)
                if count == 0:
                    what = f"the file ends before byte {position + len(view)}, so it has changed"
                    raise CheckpointError(Problem(what, f"{entry.file}, tensor {entry.name}"))
                view, position = view[count:], position + count
        except OSError as error:
            what = f"cannot read: {error.strerror}"
            raise MachineError(Problem(what, f"{entry.file}, tensor {entry.name}")) from error

    def _descriptor(self, path: Path) -> int:
        known = self._descriptors.get(path)
        if known is not None:
            return known
        with self._lock:
            if path not in self._descriptors:
                self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return self._descriptors[path]
