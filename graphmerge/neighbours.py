"""Pieces that lie one behind the other in a file, to be read or written at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence


def neighbours(
    places: Sequence[tuple[Hashable, int]], size_bytes: int
) -> Iterator[tuple[int, int]]:
    """Ranges [first, stop) of pieces that continue each other, together all of them in order.

    Args:
        places: File and first byte of each piece.
        size_bytes: Size of each piece.
    """
    first = 0
    for number, (file, offset) in enumerate(places):
        following = number + 1
        if following == len(places) or places[following] != (file, offset + size_bytes):
            yield first, following
            first = following
