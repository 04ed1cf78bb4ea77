"""What a run tells while it runs."""

from __future__ import annotations

import threading
from typing import Protocol

from attrs import define, field

from graphmerge.frozen_classes import frozen


@frozen
class Counts:
    """How far a run is, at one moment."""

    read_bytes: int
    """Bytes read from input files."""
    written_bytes: int
    """Bytes of tensors written."""
    finished_tensors: int
    """Output tensors that are complete."""


class Listener(Protocol):
    """Told of everything worth telling; called from worker threads, one call at a time."""

    def progressed(self, counts: Counts) -> None:
        """Called after every tile."""

    def warned(self, text: str) -> None:
        """Something the user should know, such as a NaN in an input."""


@define
class Progress:
    """Adds up what workers do and passes it on."""

    listener: Listener
    """Who is told."""
    read_bytes: int = 0
    """Bytes read so far."""
    written_bytes: int = 0
    """Bytes written so far."""
    finished_tensors: int = 0
    """Output tensors complete so far."""
    warnings: list[str] = field(factory=list)
    """Warnings so far, each once."""
    _lock: threading.Lock = field(factory=threading.Lock)

    def add(
        self, *, read_bytes: int = 0, written_bytes: int = 0, finished_tensors: int = 0
    ) -> None:
        """Count more work done."""
        with self._lock:
            self.read_bytes += read_bytes
            self.written_bytes += written_bytes
            self.finished_tensors += finished_tensors
            self.listener.progressed(
                Counts(self.read_bytes, self.written_bytes, self.finished_tensors)
            )

    def warn(self, text: str) -> None:
        """Pass a warning on, once."""
        with self._lock:
            if text not in self.warnings:
                self.warnings.append(text)
                self.listener.warned(text)
