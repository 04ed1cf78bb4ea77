"""Colours of drawings."""

from __future__ import annotations

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Space
from graphmerge.ops.sources import LoadTensor


@frozen
class Colours:
    """How a node looks."""

    fill: str
    """Of the area, light enough for black text."""
    line: str
    """Of the border."""


PALETTE = {
    LoadTensor.kind: Colours("#eceff1", "#607d8b"),
    Space.WEIGHT.value: Colours("#e3f2fd", "#1e88e5"),
    Space.DELTA.value: Colours("#fff3e0", "#fb8c00"),
    Space.STATISTIC.value: Colours("#f3e5f5", "#8e24aa"),
    Space.RECORD.value: Colours("#e8f5e9", "#43a047"),
}
"""By the role of a node, `FoldedNode.role`."""
