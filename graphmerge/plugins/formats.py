"""Readers of other checkpoint formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.checkpoint.reading import register_reader
from graphmerge.checkpoint.values import Checkpoint
from graphmerge.errors import CheckpointError, GraphmergeError, Problem
from graphmerge.ops.custom import REPORT_IT, place_of, told
from graphmerge.plugins.checks import check_function
from graphmerge.recipe.cursor import show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Reader = Callable[[Path], Checkpoint]


def checkpoint_reader(suffix: str) -> Callable[[Reader], Reader]:
    """Make a function the reader of files that end so, such as `.npt`.

    The function maps a path to a `Checkpoint`: it reads the file's directory only, and says for
    each tensor its shape, its dtype and where in the file its bytes are, one after the other and
    little-endian. graphmerge streams them from there.

    Raises:
        CheckpointError: the suffix has a reader already, or no file has such a suffix.
    """
    is_text = isinstance(suffix, str)
    if not is_text or len(suffix) < 2 or not suffix.startswith(".") or suffix.count(".") > 1:
        what = "no suffix of a file"
        raise CheckpointError(Problem(what, got=show(suffix), wanted="one such as '.npt'"))

    def decorate(function: Reader) -> Reader:
        check_function(function, suffix)
        register_reader(suffix, lambda path: _read(function, path))
        return function

    return decorate


def _read(function: Reader, path: Path) -> Checkpoint:
    """What a reader makes of a file.

    Raises:
        CheckpointError: it fails, or returns something else than a checkpoint.
    """
    try:
        found: object = function(path)
    except (GraphmergeError, OSError):  # names the file
        raise
    except Exception as error:
        what = f"the reader fails: {told(error)}"
        where = f"{path}, read by {place_of(function, error)}"
        raise CheckpointError(Problem(what, where, hint=REPORT_IT)) from error
    if not isinstance(found, Checkpoint):
        what, got = "the reader returns no checkpoint", type(found).__name__
        where = f"{path}, read by {place_of(function)}"
        raise CheckpointError(Problem(what, where, got, "Checkpoint", REPORT_IT))
    return found
