"""Readers of other checkpoint formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.checkpoint.reading import register_reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from graphmerge.checkpoint.values import Checkpoint

    Reader = Callable[[Path], Checkpoint]


def checkpoint_reader(suffix: str) -> Callable[[Reader], Reader]:
    """Make a function the reader of files that end so, such as `.npt`.

    The function maps a path to a `Checkpoint`: it reads the file's directory only, and says for
    each tensor its shape, its dtype and where in the file its bytes are, one after the other and
    little-endian. graphmerge streams them from there.

    Raises:
        CheckpointError: the suffix has a reader already.
    """

    def decorate(function: Reader) -> Reader:
        register_reader(suffix, function)
        return function

    return decorate
