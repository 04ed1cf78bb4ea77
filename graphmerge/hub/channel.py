"""Where the process that speaks to the Hub tells what happens."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, TextIO

from graphmerge.hub.messages import Noted, to_line

if TYPE_CHECKING:
    from graphmerge.hub.messages import Message


class Channel:
    """Messages to the process that asked; from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            BrokenPipeError: nobody listens any more.
        """
        with self._lock:
            self._stream.write(to_line(message))
            self._stream.flush()

    def note(self, text: str) -> None:
        """Send a note."""
        self.send(Noted(text))


class NotingHandler(logging.Handler):
    """Passes on what libraries log as notes, one line each."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.WARNING)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        self._channel.note(" ".join(record.getMessage().split()))
