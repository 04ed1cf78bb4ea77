"""A row of bars for numbers over time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[int], *, width: int) -> str:
    """One bar for each value, or for the largest of each stretch when there are more than `width`.

    The lowest bar is the least value, the highest the largest; all are lowest if they are equal.
    """
    columns = min(width, len(values))
    edges = [index * len(values) // columns for index in range(columns + 1)] if columns else []
    peaks = [max(values[start:end]) for start, end in pairwise(edges)]
    least, most = min(peaks, default=0), max(peaks, default=0)
    steps = max(most - least, 1)
    return "".join(_BARS[(peak - least) * (len(_BARS) - 1) // steps] for peak in peaks)
