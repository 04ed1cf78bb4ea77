"""What libraries raise, turned into messages that say what to do."""

from __future__ import annotations

import errno
import shutil
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from graphmerge.errors import GraphmergeError, InputError, MachineError, Problem
from graphmerge.hub.messages import Download, Failed, Open, Push
from graphmerge.hub.patience import RateLimitedError
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from graphmerge.hub.messages import Message

_WITH_TOKEN = "set HF_TOKEN, or log in with `hf auth login`"
_AGAIN = "run the same command again: files that are complete are kept"
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})


def failure(error: Exception, request: Message) -> Failed:
    """The answer to a request that an error has ended."""
    made = error if isinstance(error, GraphmergeError) else _translated(error, request)
    return Failed(made.exit_code, made.problems)


def _translated(error: Exception, request: Message) -> GraphmergeError:
    repository, label = _names(request)
    cause = _root(error)
    if isinstance(cause, GatedRepoError):
        hint = f"accept its conditions at {constants.ENDPOINT}/{repository}, then {_WITH_TOKEN}"
        return InputError(Problem("the model is gated", label, hint=hint))
    if isinstance(cause, RepositoryNotFoundError):
        return InputError(_no_repository(repository, label))
    if isinstance(cause, RevisionNotFoundError):
        return InputError(_no_revision(repository, label))
    if isinstance(cause, HFValidationError):
        return InputError(Problem("not the name of a repository", label, str(cause)))
    if isinstance(cause, OfflineModeIsEnabled) and isinstance(request, Push):
        hint = "HF_HUB_OFFLINE is set: unset it to push"
        return InputError(Problem("pushing needs the network", label, hint=hint))
    if isinstance(cause, OfflineModeIsEnabled):
        what = "no such local folder, and the cache of the Hub has no such model"
        return InputError(Problem(what, label, hint="HF_HUB_OFFLINE is set: unset it to download"))
    if isinstance(cause, HfHubHTTPError):
        return _refused(cause, label)
    return MachineError(_of_machine(cause, label))


def _names(request: Message) -> tuple[str, str]:
    """The repository that a request is about, and as the user has it."""
    if isinstance(request, Download):
        first = request.files[0]
        return first.repository, f"{first.repository}@{first.commit}"
    assert isinstance(request, (Open, Push))
    revision = f"@{request.revision}" if request.revision else ""
    return request.repository, request.repository + revision


def _root(error: BaseException) -> BaseException:
    """What is behind errors that only say that something is not there, or failed."""
    wrappers = (LocalEntryNotFoundError, RevisionResolutionError, RuntimeError)
    while isinstance(error, wrappers) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _no_repository(repository: str, label: str) -> Problem:
    organisation, name = repository.split("/")
    api = HfApi()
    try:
        found = [one.id for one in api.list_models(author=organisation, limit=500)]
        found = found or [one.id for one in api.list_models(search=name, limit=50)]
    except (httpx.HTTPError, OSError):
        found = []
    others = [one for one in found if one != repository]
    near = get_close_matches(repository, others, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"if it is private: {_WITH_TOKEN}"
    return Problem("no such local folder, and no such model on the Hub", label, hint=hint)


def _no_revision(repository: str, label: str) -> Problem:
    try:
        refs = HfApi().list_repo_refs(repository)
        found = [ref.name for ref in (*refs.branches, *refs.tags)]
    except (httpx.HTTPError, OSError):
        found = []
    shown = ", ".join(found[:10]) + (", ..." if len(found) > 10 else "")
    return Problem("the model has no such revision", label, wanted=shown and f"one of {shown}")


def _refused(error: HfHubHTTPError, label: str) -> GraphmergeError:
    status = error.response.status_code
    got = f"HTTP {status}" + (f": {error.server_message}" if error.server_message else "")
    if status in _DENIED:
        return InputError(Problem("the Hub refuses access", label, got, hint=_WITH_TOKEN))
    return MachineError(Problem("the Hub failed", label, got, hint=_AGAIN))


def _of_machine(error: BaseException, label: str) -> Problem:
    if isinstance(error, RateLimitedError):
        what, got = "the Hub counts too many requests", f"a wait of {error.seconds} s"
        return Problem(what, label, got, hint=f"{_AGAIN}; with HF_TOKEN set more are allowed")
    if isinstance(error, httpx.TransportError):
        what, got = f"the connection to {constants.ENDPOINT} failed", _shown(error)
        return Problem(what, label, got, hint=_AGAIN)
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        cache = Path(constants.HF_HUB_CACHE)
        got = f"{format_bytes(shutil.disk_usage(cache).free)} free" if cache.exists() else ""
        hint = "free some space, or set HF_HOME to a folder on another disk"
        return Problem("the disk is full", str(cache), got, hint=hint)
    if isinstance(error, OSError) and error.errno is not None:
        where = str(error.filename or constants.HF_HUB_CACHE)
        return Problem("cannot use the cache of the Hub", where, _shown(error))
    return Problem("the Hub failed", label, _shown(error), hint=_AGAIN)


def _shown(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
