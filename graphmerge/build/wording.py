"""How messages about a build count tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sized


def they_are(names: Sized, noun: str) -> str:
    """`1 tensor is`, `3 tensors are`."""
    return f"1 {noun} is" if len(names) == 1 else f"{len(names)} {noun}s are"
