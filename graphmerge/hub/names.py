"""What repositories are called."""

from __future__ import annotations

import re

_REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
"""`organisation/name`; neither starts with a dot, so that relative paths do not match."""


def is_repository(text: str) -> bool:
    """Whether a text can be the name of a repository."""
    return _REPOSITORY.fullmatch(text) is not None
