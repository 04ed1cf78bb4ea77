"""What a misspelt name was probably meant to be."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIMILARITY = 0.6  # difflib's own default: finds `weigth`, and nothing for unrelated words


def suggest(name: str, candidates: Iterable[str]) -> str:
    """The hint "did you mean 'weight'?" for `weigth`; empty when nothing is close.

    Case, and `-` in place of `_`, count as no difference: `DARE-ties` finds `dare_ties`.
    """
    by_plain_name = {_plain(candidate): candidate for candidate in candidates}
    close = difflib.get_close_matches(_plain(name), by_plain_name, n=1, cutoff=_SIMILARITY)
    return f"did you mean '{by_plain_name[close[0]]}'?" if close else ""


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")
