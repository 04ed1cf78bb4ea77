"""Ask the process that speaks to the Hub."""

from __future__ import annotations

import atexit
import logging
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from graphmerge.checkpoint.values import HubOrigin
from graphmerge.errors import GraphmergeError, InputError, MachineError, Problem
from graphmerge.hub.messages import (
    Done,
    Download,
    Failed,
    Message,
    Noted,
    Open,
    Progressed,
    Push,
    WantedFile,
    from_line,
    to_line,
)
from graphmerge.hub.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_LOGGER = logging.getLogger("graphmerge")
_SECONDS_TO_END = 10
"""Time for the other process to remove what it has half downloaded."""
_HEEDED = re.compile(r"HF_|HUGGING_?FACE_|XDG_CACHE_HOME|\w+_PROXY", re.IGNORECASE)
"""Variables that huggingface_hub reads."""
_workers: dict[frozenset[tuple[str, str]], subprocess.Popen[str]] = {}
"""The other process, if there is one, by the variables that it has read."""


@cache
def open_repository(
    repository: str, revision: str | None, *, commit: str | None, fetches_weights: bool
) -> HubOrigin:
    """A folder that a repository can be planned from; the same one for all of a process.

    Args:
        repository: `organisation/name`.
        revision: Branch, tag or commit; None for the default branch.
        commit: The commit to use, where it is known from before.
        fetches_weights: Whether weights may be downloaded that say only as a whole what is in
            them: torch files.

    Raises:
        InputError: there is no such model, it may not be read, or holds no weights.
        MachineError: the Hub cannot be reached, or fails.
    """
    request = Open(repository, revision, commit, str(scratch_folder()), fetches_weights)
    opened = _asked(request)
    return HubOrigin(repository, revision or "main", opened["commit"], Path(opened["folder"]))


def download(
    files: Iterable[tuple[HubOrigin, Path]], progressed: Callable[[int], None] | None = None
) -> None:
    """Download what is missing into the cache of the Hub, and end the process that has done it.

    Args:
        files: Paths in the folders of repositories.
        progressed: Called with the number of bytes that have come since the last call.

    Raises:
        InputError: they may not be read.
        MachineError: the Hub cannot be reached, or the disk is full; what is complete is kept.
    """
    wanted = [_wanted(*pair) for pair in dict.fromkeys(files) if pair[0].is_missing(pair[1])]
    try:
        if wanted:
            _asked(Download(tuple(wanted)), progressed)
    finally:
        _end_worker()


def push(
    folder: Path, repository: str, *, private: bool, revision: str | None, message: str
) -> str:
    """Upload a folder, and the URL of the commit that holds it.

    Raises:
        InputError: the repository may not be written.
        MachineError: the Hub cannot be reached, or fails.
    """
    url: str = _asked(Push(str(folder), repository, private, revision, message))
    return url


@contextmanager
def told_as(origin: HubOrigin) -> Iterator[None]:
    """Let errors name the repository instead of the folder that stands for it here."""
    try:
        yield
    except GraphmergeError as error:
        raise type(error)(*(_renamed(one, origin) for one in error.problems)) from error


def _renamed(problem: Problem, origin: HubOrigin) -> Problem:
    name, folder = str(origin), str(origin.folder)
    texts = {key: getattr(problem, key).replace(folder, name) for key in ("what", "where", "got")}
    return evolve(problem, **texts)


def _wanted(origin: HubOrigin, path: Path) -> WantedFile:
    name = path.relative_to(origin.folder).as_posix()
    return WantedFile(origin.repository, origin.commit, name, str(path), path.stat().st_size)


_LOCK = threading.Lock()


def _asked(request: Message, progressed: Callable[[int], None] | None = None) -> Any:
    """What the other process answers.

    Raises:
        InputError: the request makes no sense.
        MachineError: it failed.
    """
    with _LOCK:
        try:
            return _answer(_worker(), request, progressed)
        except GraphmergeError:
            raise
        except BaseException:
            _end_worker(has_to_stop=True)
            raise


def _answer(
    worker: subprocess.Popen[str], request: Message, progressed: Callable[[int], None] | None
) -> Any:
    for message in _messages(worker, request):
        if isinstance(message, Done):
            return message.value
        if isinstance(message, Failed):
            kind = MachineError if message.exit_code == MachineError.exit_code else InputError
            raise kind(*message.problems)
        if isinstance(message, Noted):
            _LOGGER.warning("note: %s", message.text)
        elif isinstance(message, Progressed) and progressed:
            progressed(message.size_bytes)
    what = "the process that speaks to the Hub has ended unexpectedly"
    hint = "run the same command again; if it was killed, there may be too little memory"
    raise MachineError(Problem(what, got=_end_of(worker), hint=hint))


def _end_of(worker: subprocess.Popen[str]) -> str:
    """How a process that has closed its output has ended."""
    try:
        code = worker.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        return "no answer"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _messages(worker: subprocess.Popen[str], request: Message) -> Iterator[Message]:
    """What comes after a request; nothing more where the process has died."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(to_line(request))
        worker.stdin.flush()
    except BrokenPipeError:
        return
    yield from map(from_line, worker.stdout)


def _worker() -> subprocess.Popen[str]:
    """The other process; begun anew where variables have changed that it reads at its start."""
    heeded = frozenset(pair for pair in os.environ.items() if _HEEDED.match(pair[0]))
    if heeded not in _workers:
        _end_worker()
        _workers[heeded] = subprocess.Popen(
            [sys.executable, "-m", "graphmerge.hub"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which ends the other
        )
    return _workers[heeded]


@atexit.register
def _end_worker(*, has_to_stop: bool = False) -> None:
    """End the other process, if there is one.

    Args:
        has_to_stop: It is at work; it removes what it has half downloaded.
    """
    if not _workers:
        return
    _, worker = _workers.popitem()
    if has_to_stop:
        worker.terminate()
    for stream in (worker.stdin, worker.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
    try:
        worker.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
