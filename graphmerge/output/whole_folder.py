"""A small output that is made in one go: it appears whole, by one rename, or not at all."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from graphmerge.errors import OutputError, Problem
from graphmerge.output.failures import write_errors
from graphmerge.output.journal import JOURNAL_NAME, clear_unfinished
from graphmerge.output.lock import lock_partial
from graphmerge.output.publish import prepare, publish, refuse_output_inside_inputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@contextmanager
def whole_folder(out: Path, *, inputs: Iterable[Path], overwrite: bool) -> Iterator[Path]:
    """An empty folder to fill, which becomes `out` at the end of the block.

    What a killed run has left in its place is removed; so is the folder if the block fails.

    Args:
        out: Folder to be made.
        inputs: What is read while it is filled.
        overwrite: Replace an `out` that exists.

    Raises:
        OutputError: `out` is in use and may not be replaced, shares a folder with an input, or
            another run makes it.
        MachineError: the file system refused.
    """
    refuse_output_inside_inputs(out, inputs)
    partial = prepare(out, overwrite=overwrite)
    if (partial / JOURNAL_NAME).exists():
        what, hint = "an unfinished merge is in the way", "finish it, or remove the folder"
        raise OutputError(Problem(what, str(partial), hint=hint))
    with lock_partial(partial):
        with write_errors(partial):
            clear_unfinished(partial)
        try:
            yield partial
            publish(partial, out, overwrite=overwrite, durable=False)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
