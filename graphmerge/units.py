"""Parse and format sizes in bytes."""

from __future__ import annotations

import re
from math import inf

from graphmerge.errors import InputError, Problem

KIB = 1024
MIB = 1024**2
GIB = 1024**3

_FACTORS = {
    "": 1, "b": 1,
    "k": 1000, "kb": 1000, "kib": KIB,
    "m": 1000**2, "mb": 1000**2, "mib": MIB,
    "g": 1000**3, "gb": 1000**3, "gib": GIB,
    "t": 1000**4, "tb": 1000**4, "tib": 1024**4,
}  # fmt: skip
_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def parse_bytes(text: str | float) -> int:
    """Bytes of `"2GiB"`, `"500MB"`, `"1.5g"` or a plain number.

    Raises:
        InputError: the text is no size, or the size is zero.
    """
    match = _PATTERN.fullmatch(str(text))
    factor = _FACTORS.get(match[2].lower()) if match else None
    size = float(match[1]) * factor if match and factor else 0.0
    if not 1 <= size < inf:
        raise InputError(
            Problem("not a size", got=repr(text), wanted="a size such as 512MiB, 2GiB or 5GB")
        )
    return int(size)


def whole_mib(size_bytes: int) -> int:
    """MiB, rounded up: as a budget it is enough."""
    return -(-size_bytes // MIB)


def format_bytes(size_bytes: float) -> str:
    """Bytes in the largest binary unit that keeps the number at or above one: `1.50 GiB`."""
    for unit, factor in (("TiB", 1024**4), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(size_bytes) >= factor:
            value = size_bytes / factor
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{size_bytes:.0f} B"
