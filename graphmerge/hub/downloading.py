"""Download files into the cache of the Hub, several at once, and tell how far it is."""

from __future__ import annotations

import resource
import shutil
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from huggingface_hub import constants, hf_hub_download

from graphmerge.errors import MachineError, Problem
from graphmerge.hub.messages import Progressed
from graphmerge.hub.patience import persistently
from graphmerge.hub.view import link
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.hub.channel import Channel
    from graphmerge.hub.messages import WantedFile

_AT_ONCE = 4
_HALF_LOADED = ".incomplete"
_MOST_DESCRIPTORS = 4096
"""More than this process ever has open."""


def download(files: Sequence[WantedFile], channel: Channel) -> None:
    """Download files, and make links to them of their stand-ins.

    Raises:
        MachineError: the disk is too small.
        Exception: whatever huggingface_hub raises for the first file that failed.
    """
    _check_space(files)
    stop = threading.Event()
    pool = ThreadPoolExecutor(_AT_ONCE)
    jobs = [pool.submit(_download, file, channel, stop) for file in files]
    try:
        wait(jobs, return_when=FIRST_EXCEPTION)
        _raise_first(jobs)
    finally:
        stop.set()  # those that run end at their next bytes, and remove what they have
        pool.shutdown(cancel_futures=True)


def remove_half_loaded() -> None:
    """Remove files that this process is still writing into the cache: nobody would go on with them.

    huggingface_hub gives them names of their own, and removes them itself if it gets the time.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))  # from now on no thread opens another
    for descriptor in range(min(soft, _MOST_DESCRIPTORS)):
        with suppress(OSError):  # none of this number, or no file
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.suffix == _HALF_LOADED:
                path.unlink()


def _raise_first(jobs: Sequence[Future[None]]) -> None:
    for job in jobs:
        if job.done():
            job.result()


def _download(file: WantedFile, channel: Channel, stop: threading.Event) -> None:
    class Bar(_Bar):
        def __init__(self, *_: Any, **__: Any) -> None:
            super().__init__(channel, stop)

    found = persistently(
        lambda: hf_hub_download(file.repository, file.name, revision=file.commit, tqdm_class=Bar),
        despite=httpx.ReadError,  # from the other ways of breaking huggingface_hub goes on itself
    )
    link(Path(file.path), Path(found))


class _Stopped(Exception):  # noqa: N818 - no error
    """Another file has failed, or nobody wants this one any more."""


class _Bar:
    """What huggingface_hub takes for a progress bar of tqdm."""

    def __init__(self, channel: Channel, stop: threading.Event) -> None:
        self._channel = channel
        self._stop = stop
        self._told_bytes = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, kind: object, *raised: object) -> None:
        if kind is not None and not self._stop.is_set():
            self.update(-self._told_bytes)  # the next try begins anew

    def update(self, size_bytes: float | None = 1) -> None:
        """Tell how many more bytes there are."""
        if self._stop.is_set():
            raise _Stopped
        count = int(size_bytes or 0)
        self._told_bytes += count
        self._channel.send(Progressed(count))

    def update_transfer(self, size_bytes: float | None = 1) -> None:
        """Bytes that came over the line, which may be compressed: not shown."""

    def set_postfix_str(self, text: str, refresh: bool = False) -> None:  # noqa: FBT001, FBT002 - as tqdm has it
        """A rate: not shown."""

    set_transfer_postfix_str = set_postfix_str

    def close(self) -> None:
        """Nothing is open."""


def _check_space(files: Sequence[WantedFile]) -> None:
    """Refuse to begin what the disk cannot hold."""
    cache = Path(constants.HF_HUB_CACHE)
    place = next(path for path in (cache, *cache.parents) if path.exists())
    needed_bytes = sum(file.size_bytes for file in files)
    free_bytes = shutil.disk_usage(place).free
    if needed_bytes > free_bytes:
        raise MachineError(
            Problem(
                "the disk is too small for the downloads",
                str(cache),
                f"{format_bytes(free_bytes)} free",
                format_bytes(needed_bytes),
                "free some space, or set HF_HOME to a folder on another disk",
            )
        )
