"""Python's collector of reference cycles, and when it is in the way."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def paused_collection() -> Iterator[None]:
    """Make objects without looking for cycles among them.

    Nodes and plans have no cycles and all live on, so every search is for nothing. What was made
    counts as old afterwards, else the next search for cycles would begin with all of it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


@contextmanager
def known_objects_set_aside() -> Iterator[None]:
    """Look for cycles among new objects only.

    A plan of many tensors is a million objects without cycles, and every full search goes through
    all of them. Objects that somebody else has set aside stay so.
    """
    is_ours = not gc.get_freeze_count()
    if is_ours:
        gc.freeze()
    try:
        yield
    finally:
        if is_ours:
            gc.unfreeze()
