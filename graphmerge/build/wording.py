"""How messages about a build name tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN_NAMES = 3
"""Names that a message shows of many."""


def some(names: Sequence[str]) -> str:
    """The first few names, and how many there are beside."""
    rest = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")
