"""Whether the files of a checkpoint are still those whose headers were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.checkpoint.access import machine_errors
from graphmerge.errors import CheckpointError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from graphmerge.checkpoint.values import Checkpoint


def stamp(file: Path) -> tuple[int, int]:
    """Size in bytes and modification time in ns of a file."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def require_unchanged(checkpoints: Iterable[Checkpoint]) -> None:
    """Check that nobody has written to the weights since their headers were read.

    What is of the Hub is known by its commit: a download puts files in the place of others.

    Raises:
        CheckpointError: files have changed: where tensors begin is no longer known.
        MachineError: a file cannot be found or asked.
    """
    changed: dict[Path, Problem] = {}
    for checkpoint in checkpoints:
        own = () if checkpoint.origin else checkpoint.files
        for file, known in zip(own, checkpoint.stamps, strict=False):
            with machine_errors(file):
                is_changed = stamp(file) != known
            if is_changed:
                what, hint = "the file has changed since its header was read", "load it again"
                changed[file] = Problem(what, str(file), hint=hint)
    if changed:
        raise CheckpointError(*changed.values())
