"""Settings of ops in words, for readers of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def listed(numbers: Iterable[float]) -> str:
    """Numbers with commas: `0.5, 1`."""
    return ", ".join(f"{number:g}" for number in numbers)
