"""Readers of other checkpoint formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphmerge.checkpoint.reading import register_reader
from graphmerge.checkpoint.values import Checkpoint, TensorEntry
from graphmerge.errors import CheckpointError, GraphmergeError, Problem
from graphmerge.ops.custom import REPORT_IT, place_of, told
from graphmerge.plugins.checks import check_function
from graphmerge.recipe.cursor import show
from graphmerge.spec import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        CheckpointError: it fails, or returns something else than a checkpoint, or one with fields
            of other types.
    """
    try:
        found: object = function(path)
    except (GraphmergeError, OSError, KeyboardInterrupt):  # errors that name the file, and Ctrl-C
        raise
    except BaseException as error:  # sys.exit() too, which would end the command as if it were done
        what = f"the reader fails: {told(error)}"
        where = f"{path}, read by {place_of(function, error)}"
        raise CheckpointError(Problem(what, where, hint=REPORT_IT)) from error
    if not isinstance(found, Checkpoint):
        what, got = "the reader returns no checkpoint", type(found).__name__
        where = f"{path}, read by {place_of(function)}"
        raise CheckpointError(Problem(what, where, got, "Checkpoint", REPORT_IT))
    fault = next(_wrong_fields(found), None)
    if fault is not None:
        name, value, wanted = fault
        what = f"the reader returns a checkpoint with a wrong {name}"
        where = f"{path}, read by {place_of(function)}"
        raise CheckpointError(Problem(what, where, show(value), wanted, REPORT_IT))
    return found


def _wrong_fields(checkpoint: Any) -> Iterator[tuple[str, object, str]]:
    """Fields of a checkpoint with which something would fail later: name, value, what is wanted."""
    if not isinstance(checkpoint.path, Path):
        yield "path", checkpoint.path, "a pathlib.Path"
    if not (_are_paths(checkpoint.files) and checkpoint.files):
        yield "files", checkpoint.files, "a tuple of pathlib.Path, one or more"
    if not _are_paths(checkpoint.side_files):
        yield "side_files", checkpoint.side_files, "a tuple of pathlib.Path"
    for key, value in checkpoint.config.items():
        if not (isinstance(key, str) and _is_json(value)):
            yield f"config[{key!r}]", value, "what JSON can hold, with text as key"
    for name, entry in checkpoint.tensors.items():
        if not isinstance(name, str) or not isinstance(entry, TensorEntry):
            yield f"tensors[{name!r}]", entry, "a TensorEntry, with text as key"
        else:
            for part, value, wanted in _wrong_parts(entry):
                yield f"tensors[{name!r}].{part}", value, wanted


def _wrong_parts(entry: Any) -> Iterator[tuple[str, object, str]]:
    if not isinstance(entry.name, str):
        yield "name", entry.name, "text"
    if not isinstance(entry.file, Path):
        yield "file", entry.file, "a pathlib.Path"
    if not _are_sizes(entry.offset):
        yield "offset", entry.offset, "an int, at least 0"
    if not isinstance(entry.spec, TensorSpec):
        yield "spec", entry.spec, "a TensorSpec"
    elif not _are_sizes(*entry.spec.shape):
        yield "spec.shape", entry.spec.shape, "ints, each at least 0"


def _are_paths(value: object) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(x, Path) for x in value)


def _are_sizes(*values: object) -> bool:
    """Whether they are integers of Python: those of numpy overflow, and JSON has none."""
    return all(isinstance(x, int) and x >= 0 for x in values)


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
