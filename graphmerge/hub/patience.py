"""How long the Hub is waited for: every request has a timeout, and 429 a bounded wait."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from huggingface_hub import constants
from huggingface_hub.utils import (
    disable_progress_bars,
    get_session,
    parse_ratelimit_headers,
    set_client_factory,
)

from graphmerge.hub.channel import NotingHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.hub.channel import Channel

T = TypeVar("T")
TIMEOUT_SECONDS = 60
"""After so long without a byte a connection counts as broken."""
MOST_WAITED_SECONDS = 330
"""The Hub counts requests over five minutes; whoever asks for more is not waited for."""
_DEFAULT_WAIT_SECONDS = 5
_TRIES = 3
_CHUNK_BYTES = 2**20
"""After so many bytes a download tells how far it is, and ends if another has failed; it would only
every 10 MiB."""
_FAILING = frozenset({502, 503, 504})
"""What a server answers that will be there again in a moment."""
_READING = frozenset({"GET", "HEAD"})
_REPEATABLE = frozenset({"GET", "HEAD", "POST"})
"""Methods whose requests hold no more than a few bytes of their own, which can be sent again."""


class RateLimitedError(OSError):
    """The Hub asks to wait longer than is reasonable."""

    def __init__(self, url: str, seconds: int) -> None:
        super().__init__(f"wait for {seconds} s before {url}")
        self.seconds = seconds


class PatientClient(httpx.Client):
    """Waits where the Hub asks for it, within bounds, and for no answer for ever."""

    def __init__(self, channel: Channel, **options: Any) -> None:
        super().__init__(**options)
        self._channel = channel

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request, again after a wait if the Hub counts too many or is out for a moment.

        Raises:
            RateLimitedError: it asks to wait for too long.
            httpx.TransportError: it cannot be reached.
        """
        timeouts = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            kind: timeouts.get(kind) or TIMEOUT_SECONDS
            for kind in ("connect", "read", "write", "pool")
        }
        waited, failures = 0, 0
        while True:
            response = super().send(request, **options)
            if response.status_code in _FAILING and request.method in _READING:
                failures += 1
                if failures == _TRIES:
                    return response
                seconds, why = failures, f"HTTP {response.status_code}"
            elif response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                seconds, why = _wanted_wait(response), "too many requests"
            else:
                return response
            response.close()
            waited += seconds
            if waited > MOST_WAITED_SECONDS or request.method not in _REPEATABLE:
                raise RateLimitedError(str(request.url), seconds)
            self._channel.note(f"asking the Hub again in {seconds} s ({why})")
            time.sleep(seconds)


def _wanted_wait(response: httpx.Response) -> int:
    """Seconds that a 429 asks for."""
    limits = parse_ratelimit_headers(response.headers)
    if limits is not None and limits.remaining == 0:
        return max(1, limits.reset_in_seconds)
    text = response.headers.get("Retry-After", "").strip()
    return max(1, int(text)) if text.isdigit() else _DEFAULT_WAIT_SECONDS


def persistently(action: Callable[[], T], *, despite: type[httpx.TransportError]) -> T:
    """What an action gives that is tried again where the connection breaks, within bounds.

    Raises:
        httpx.TransportError: it has broken too often, or in another way.
    """
    for _ in range(_TRIES - 1):
        with suppress(despite):
            return action()
    return action()


def set_up_client(channel: Channel) -> None:
    """Let huggingface_hub use a patient client, and tell what it does."""
    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    hooks = get_session().event_hooks
    set_client_factory(
        lambda: PatientClient(channel, event_hooks=hooks, follow_redirects=True, timeout=None)
    )
    logger = logging.getLogger("huggingface_hub")
    logger.handlers = [NotingHandler(channel)]
    logger.propagate = False
    if not sys.stderr.isatty():
        disable_progress_bars()
