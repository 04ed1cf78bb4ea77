"""Where the nodes of a drawing go: in rows, inputs above users, with lanes for edges that are long.

This is the method of Sugiyama, Tagawa and Toda (Methods for visual understanding of hierarchical
system structures, 1981) in its simplest form. An edge over several rows takes a lane, which has a
place in each row between; all such edges of one node share the lane, so a value that many steps
use is one line with branches.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import networkx as nx

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from graphmerge.reporting.drawing import Group

NODE_GAP = 20.0
"""Least distance between neighbours in a row."""
ROW_GAP = 38.0
"""Distance between rows, which edges cross."""
LANE_WIDTH = 4.0
"""Width of a lane."""
PORT_GAP = 14.0
"""Distance between the ends of edges that go into one node."""
SWEEPS = 40
"""How often rows are placed by their neighbours; in pictures of 400 nodes, more move nothing by a
tenth of a pixel."""
PULLS = (1.0, 0.25, 2.0)
"""How strongly neighbours pull: two nodes, a node and a lane, two lanes. Nodes are to be above
their users, and lanes straight; lanes bend at their ends."""

_Place: TypeAlias = "tuple[str, int]"
"""Id of a node and a row: the node's own, or a later one that its lane goes through."""
_Places: TypeAlias = "nx.DiGraph[_Place]"


@frozen
class Size:
    """Width and height."""

    width: float
    """From left to right."""
    height: float
    """From top to bottom."""


@frozen
class Box:
    """Where a node is."""

    left: float
    """Left border."""
    top: float
    """Upper border."""
    size: Size
    """Its size."""

    @property
    def centre(self) -> float:
        """Middle between left and right border."""
        return self.left + self.size.width / 2

    @property
    def bottom(self) -> float:
        """Lower border."""
        return self.top + self.size.height


@frozen
class Curve:
    """A piece of an edge, from one row to the next."""

    start: tuple[float, float]
    """Where it begins."""
    end: tuple[float, float]
    """Where it enters the next row."""
    lane_bottom: float | None
    """How far down it goes on as a lane; None where it ends at a node."""


@frozen
class Layout:
    """A group with a place for everything; the upper left corner is (0, 0)."""

    boxes: Mapping[str, Box]
    """Nodes, by id."""
    curves: tuple[Curve, ...]
    """Edges, cut at the rows."""
    size: Size
    """Size of the whole."""


def lay_out(group: Group, sizes: Mapping[str, Size]) -> Layout:
    """Place the nodes of a group, which need these sizes; those in a row get the same height."""
    homes, places = _places(group)
    rows = _ordered(places)
    widths = {
        place: sizes[place[0]].width if homes[place[0]] == place[1] else LANE_WIDTH
        for place in places
    }
    centres = _centres(rows, places, homes, widths)
    shift = min((centres[place] - widths[place] / 2 for place in places), default=0.0)
    boxes: dict[_Place, Box] = {}
    top = 0.0
    for row in rows:
        height = max(sizes[name].height for name, number in row if homes[name] == number)
        for place in row:
            left = centres[place] - widths[place] / 2 - shift
            boxes[place] = Box(left, top, Size(widths[place], height))
        top += height + ROW_GAP
    nodes = {name: boxes[name, number] for name, number in homes.items()}
    width = max((box.left + box.size.width for box in boxes.values()), default=0.0)
    return Layout(nodes, tuple(_curves(places, boxes, homes)), Size(width, max(top - ROW_GAP, 0.0)))


def _places(group: Group) -> tuple[dict[str, int], _Places]:
    """The row of each node; and nodes and lanes, each linked to what is below it."""
    links: nx.DiGraph[str] = nx.DiGraph()
    links.add_nodes_from(node.id for node in group.nodes)
    links.add_edges_from((edge.source, edge.target) for edge in group.edges)
    homes = {
        name: number
        for number, names in enumerate(nx.topological_generations(links))
        for name in names
    }
    places: _Places = nx.DiGraph()
    places.add_nodes_from(homes.items())
    for source, target in links.edges:
        lane = [(source, number) for number in range(homes[source], homes[target])]
        nx.add_path(places, [*lane, (target, homes[target])])
    return homes, places


def _ordered(places: _Places) -> list[list[_Place]]:
    """Rows, each in the order of the middles of what is above: few edges cross.

    The first row keeps the order of the recipe.
    """
    rows: list[list[_Place]] = [[] for _ in range(1 + max((row for _, row in places), default=-1))]
    for place in places:
        rows[place[1]].append(place)
    above: dict[_Place, int] = {}
    for row in rows:
        middles = {
            place: _pulled([(value, 1.0) for value in places.pred[place]], above, 0.0)
            for place in row
        }
        row.sort(key=middles.__getitem__)
        above = {place: index for index, place in enumerate(row)}
    return rows


def _centres(
    rows: Sequence[Sequence[_Place]],
    places: _Places,
    homes: Mapping[str, int],
    widths: Mapping[_Place, float],
) -> dict[_Place, float]:
    """The horizontal centre of each place, near the centres of its neighbours above and below."""
    centres = dict.fromkeys(places, 0.0)
    pulls = {
        place: [
            (other, PULLS[(homes[place[0]] != place[1]) + (homes[other[0]] != other[1])])
            for other in (*places.pred[place], *places.succ[place])
        ]
        for place in places
    }
    for row in (*rows, *reversed(rows)) * SWEEPS:
        wanted = [_pulled(pulls[place], centres, centres[place]) for place in row]
        placed = _apart(wanted, [widths[place] for place in row])
        centres.update(zip(row, placed, strict=True))
    return centres


def _pulled(
    pulls: Iterable[tuple[_Place, float]], centres: Mapping[_Place, float], default: float
) -> float:
    total = sum(pull for _, pull in pulls)
    return sum(centres[place] * pull for place, pull in pulls) / total if total else default


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Centres as near to the wanted ones as can be in this order without an overlap.

    Least squares. Neighbours that would overlap are joined to a block, which stands at the mean of
    what its members want (pool adjacent violators).
    """
    offsets = [0.0]
    for before, after in pairwise(widths):
        offsets.append(offsets[-1] + (before + after) / 2 + NODE_GAP)
    blocks: list[tuple[float, int]] = []
    for value, offset in zip(wanted, offsets, strict=False):
        mean, size = value - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
    means = (mean for mean, size in blocks for _ in range(size))
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]


def _curves(
    places: _Places, boxes: Mapping[_Place, Box], homes: Mapping[str, int]
) -> Iterator[Curve]:
    for place, box in boxes.items():
        above = sorted(places.pred[place], key=lambda source: boxes[source].centre)
        is_lane = homes[place[0]] != place[1]
        for index, source in enumerate(above):
            port = box.centre + (index - (len(above) - 1) / 2) * PORT_GAP
            start = (boxes[source].centre, boxes[source].bottom)
            yield Curve(start, (port, box.top), box.bottom if is_lane else None)
