"""`python -m graphmerge.hub`: answer requests on stdin until it is closed."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

from graphmerge.hub.channel import Channel
from graphmerge.hub.downloading import download, remove_half_loaded
from graphmerge.hub.messages import Done, Download, Failed, Message, Open, Push, from_line
from graphmerge.hub.opening import open_repository
from graphmerge.hub.patience import set_up_client
from graphmerge.hub.problems import failure
from graphmerge.hub.pushing import push


def main() -> None:
    """Answer requests until there are no more, or a signal comes."""
    signal.signal(signal.SIGTERM, _stop)
    channel = Channel(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # whatever else is printed must not get between the messages
    set_up_client(channel)
    try:
        for line in sys.stdin:
            channel.send(_answer(from_line(line), channel))
    except BrokenPipeError:
        _stop()  # nobody is there any more


def _stop(*_: object) -> NoReturn:
    """End at once, whatever downloads wait for; the other process says why, if it still can."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # threads may fail at what is taken from them
    remove_half_loaded()
    os._exit(1)


def _answer(request: Message, channel: Channel) -> Done | Failed:
    try:
        return Done(_value(request, channel))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - a user gets a message, whatever a library raises
        return failure(error, request)


def _value(request: Message, channel: Channel) -> Any:
    if isinstance(request, Open):
        return open_repository(request, channel)
    if isinstance(request, Download):
        return download(request.files, channel)
    assert isinstance(request, Push)
    return push(request)


if __name__ == "__main__":
    main()
