"""From an unfinished folder to the output: it appears whole, by one rename, or not at all."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from graphmerge.checkpoint.components import PIPELINE
from graphmerge.checkpoint.own_files import MANIFEST_NAME
from graphmerge.checkpoint.shards import SAFETENSORS
from graphmerge.errors import OutputError, Problem
from graphmerge.output.failures import resolved, write_errors
from graphmerge.output.journal import JOURNAL_NAME, partial_of
from graphmerge.output.lock import LOCK_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_CHECKPOINT_PATTERNS = (MANIFEST_NAME, "config.json", PIPELINE, f"*{SAFETENSORS}")
"""A folder with none of these is no model: `--overwrite` must not delete it."""


def prepare(out: Path, *, overwrite: bool) -> Path:
    """Check that `out` can be written and make the sibling folder `<out>.partial` for the work.

    An unfinished folder that exists is kept; `Journal.open` decides whether it is continued.

    Raises:
        OutputError: `out` is in use and may not be replaced, or the sibling is not graphmerge's.
        MachineError: the folder cannot be made.
    """
    out = resolved(out)
    check_replaceable(out, overwrite=overwrite)
    partial = partial_of(out)
    if _is_used(partial) and not (partial / LOCK_NAME).exists():
        what = "a folder that graphmerge did not make is in the way"
        raise OutputError(Problem(what, str(partial), hint="move it, or name another output"))
    with write_errors(partial):
        partial.mkdir(parents=True, exist_ok=True)
    return partial


def publish(partial: Path, out: Path, *, overwrite: bool, durable: bool) -> None:
    """Turn the finished `partial` into `out`; the lock must be held.

    Journal and lock go along and are removed afterwards: a run killed before the rename can be
    continued, and no second run slips in between.

    Args:
        partial: The folder that `prepare` made, complete.
        out: The output folder.
        overwrite: Replace an `out` that exists.
        durable: Wait until everything is on the disk itself.

    Raises:
        OutputError: `out` is in use and may not be replaced.
        MachineError: the file system refused; `partial` is still there.
    """
    out = resolved(out)
    check_replaceable(out, overwrite=overwrite)
    if durable:
        _fsync(*partial.rglob("*"), partial)
    aside = out.with_name(f".{out.name}.graphmerge-replaced")
    with write_errors(out):
        _swap(partial, out, aside)
        for name in (JOURNAL_NAME, LOCK_NAME):
            (out / name).unlink(missing_ok=True)
    if durable:
        _fsync(out, out.parent)
    with write_errors(aside):
        if aside.exists():
            shutil.rmtree(aside)


def refuse_output_inside_inputs(out: Path, input_paths: Iterable[Path]) -> None:
    """Check that writing `out` touches no input: neither is the other, nor inside the other.

    Raises:
        OutputError: it would; names every such input.
    """
    out = resolved(out)
    targets = (out, partial_of(out))
    clashes = [path for path in input_paths if any(_overlap(path.resolve(), t) for t in targets)]
    if clashes:
        hint = "write the output to a folder of its own"
        what = f"the output {out} and an input share a folder"
        raise OutputError(*(Problem(what, str(path), hint=hint) for path in clashes))


def _overlap(source: Path, target: Path) -> bool:
    return source == target or source in target.parents or target in source.parents


def _is_used(folder: Path) -> bool:
    """Whether there is anything but an empty folder."""
    with write_errors(folder):
        return any(folder.iterdir()) if folder.is_dir() else folder.exists()


def check_replaceable(out: Path, *, overwrite: bool) -> None:
    """Check that `out` is absent, empty, or may be replaced.

    Raises:
        OutputError: it is a file, a mount point, in use, or holds no model that could be replaced.
        MachineError: the file system cannot say.
    """
    with write_errors(out):
        problem = _in_the_way(out, overwrite=overwrite)
    if problem:
        raise OutputError(problem)


def _in_the_way(out: Path, *, overwrite: bool) -> Problem | None:
    """Why `out` cannot be replaced. Raises OSError where the file system cannot say."""
    where = str(out)
    if out.is_mount():
        hint = "name a folder inside it"
        return Problem("the output is a mount point, not a folder", where, hint=hint)
    if out.exists() and not out.is_dir():
        return Problem("the output is a file", where, wanted="a folder")
    if _is_worked_in(out):
        what = "the output is the working directory, or around it, and would be replaced"
        return Problem(what, where, hint="name another folder, or go elsewhere first")
    if not _is_used(out):
        return None
    is_model = any(True for pattern in _CHECKPOINT_PATTERNS for _ in out.glob(pattern))
    if not overwrite:
        hint = "replace it with --overwrite" if is_model else "empty it"
        what = "the output folder is not empty"
        return Problem(what, where, hint=f"{hint}, or name another folder")
    if not is_model:
        hint = "empty it yourself if nothing in it is needed"
        return Problem("--overwrite replaces models only", where, "no model", hint=hint)
    return None


def _is_worked_in(out: Path) -> bool:
    """Whether this process is inside: the folder that takes the place of `out` is another one."""
    try:
        current = out.cwd()
    except FileNotFoundError:  # somebody has deleted it
        return False
    return current == out or out in current.parents


def _swap(partial: Path, out: Path, aside: Path) -> None:
    """Rename `partial` to `out`, an `out` in use to `aside` before; undone if the second fails.

    Raises:
        OSError: a rename failed.
    """
    if not _is_used(out):
        partial.rename(out)
        return
    if aside.exists():
        shutil.rmtree(aside)
    out.rename(aside)
    try:
        partial.rename(out)
    except OSError:
        aside.rename(out)
        raise


def _fsync(*paths: Path) -> None:
    for path in paths:
        with write_errors(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
