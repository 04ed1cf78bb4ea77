"""A drawing as SVG, which any browser shows; nothing but text is needed to make it."""

from __future__ import annotations

import re
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.reporting.layout import Box, Curve, Layout, Size, lay_out
from graphmerge.reporting.palette import PALETTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from graphmerge.reporting.drawing import Drawing, FoldedNode, Group

FONT_SIZE = 12
"""Pixels."""
LETTER_WIDTH = 7.3
"""Pixels of a letter; monospaced letters are 0.6 of the font size wide, and a little is spare."""
LINE_HEIGHT = 16
"""Pixels from line to line."""
PADDING = 12
"""Pixels between a border and what is in it."""
FRAME_GAP = 20
"""Pixels between frames."""
SHEET_WIDTH = 1600
"""Pixels after which a row of frames ends."""
NODE_LETTERS = 30
"""Longest line of a node; browsers show everything in a title over it."""
NODE_WIDTH = 112.0
"""Least width of a node in pixels: nodes of about one width stand in columns."""
SETTINGS_LETTERS = 90
"""Most letters of a node's settings, over as many lines as they take."""
HEADING_LETTERS = 72
"""Longest line above the nodes of a group."""

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = (
    "text{font:12px monospace;fill:#263238}.kind{font-weight:bold}.spec{fill:#607d8b}"
    ".node rect{stroke-width:1.2}.output rect{stroke-width:3}"
    ".frame{fill:none;stroke:#b0bec5}.edge{fill:none;stroke:#78909c;stroke-width:1.2}"
)
_ARROW = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="#78909c"/></marker>'
)


@frozen
class _Frame:
    """A group with its layout and the size of its frame."""

    group: Group
    layout: Layout
    size: Size

    @property
    def heading_height(self) -> float:
        """Height of the lines above the nodes."""
        return LINE_HEIGHT * len(self.group.heading()) + PADDING


def svg_text(drawing: Drawing, title: str) -> str:
    """A drawing as an SVG document: a frame for each group, in rows."""
    frames = [_frame(group) for group in drawing.groups]
    top = 2.0 * PADDING + 2 * LINE_HEIGHT
    corners, bottom = _corners(frames, top)
    placed = list(zip(frames, corners, strict=True))
    right = max((left + frame.size.width for frame, (left, _) in placed), default=0.0)
    width = max(right, LETTER_WIDTH * len(title), 520.0) + PADDING
    size = f'width="{width:.0f}" height="{bottom:.0f}" viewBox="0 0 {width:.0f} {bottom:.0f}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<style>{_STYLE}</style><defs>{_ARROW}</defs>",
        '<rect class="sheet" width="100%" height="100%" fill="#ffffff"/>',
    ]
    body = (line for frame, corner in placed for line in _drawn(frame, *corner))
    return "\n".join([*head, *_legend(title), *body, "</svg>"]) + "\n"


def _frame(group: Group) -> _Frame:
    sizes = {node.id: _size(_lines(node), NODE_WIDTH) for node in group.nodes}
    layout = lay_out(group, sizes)
    heading = _size([_cut(line, HEADING_LETTERS) for line in group.heading()])
    width = max(heading.width, layout.size.width + 2 * PADDING)
    return _Frame(group, layout, Size(width, heading.height + layout.size.height + 2 * PADDING))


def _size(lines: Sequence[str], least_width: float = 0.0) -> Size:
    width = LETTER_WIDTH * max(map(len, lines)) + 2 * PADDING
    return Size(max(width, least_width), LINE_HEIGHT * len(lines) + PADDING)


def _corners(frames: Iterable[_Frame], top: float) -> tuple[list[tuple[float, float]], float]:
    """Where each frame begins, row by row like words; and where the last row ends."""
    corners: list[tuple[float, float]] = []
    left, bottom = float(PADDING), top
    for frame in frames:
        if left > PADDING and left + frame.size.width > SHEET_WIDTH:
            left, top = float(PADDING), bottom
        corners.append((left, top))
        left += frame.size.width + FRAME_GAP
        bottom = max(bottom, top + frame.size.height + FRAME_GAP)
    return corners, bottom


def _legend(title: str) -> Iterator[str]:
    yield _text(PADDING, PADDING + FONT_SIZE, title, "kind")
    left = float(PADDING)
    for role, colours in PALETTE.items():
        height = PADDING + 2 * LINE_HEIGHT
        yield (
            f'<circle cx="{left + 6:.1f}" cy="{height - 8}" r="6" fill="{colours.fill}" '
            f'stroke="{colours.line}"/>'
        )
        yield _text(left + 18, height - 4, role)
        left += LETTER_WIDTH * len(role) + 40
    yield _text(left, PADDING + 2 * LINE_HEIGHT - 4, "thick: written")


def _drawn(frame: _Frame, left: float, top: float) -> Iterator[str]:
    yield f'<g transform="translate({left:.1f} {top:.1f})">'
    size = f'width="{frame.size.width:.1f}" height="{frame.size.height:.1f}"'
    yield f'<rect class="frame" {size} rx="6"/>'
    for number, line in enumerate(frame.group.heading()):
        baseline = PADDING + FONT_SIZE - 2 + number * LINE_HEIGHT
        shown = _cut(line, HEADING_LETTERS)
        yield _text(PADDING, baseline, shown, "spec" if number else "kind")
    inner = (frame.size.width - frame.layout.size.width) / 2
    yield f'<g transform="translate({inner:.1f} {frame.heading_height + PADDING:.1f})">'
    yield from map(_edge, frame.layout.curves)
    for node in frame.group.nodes:
        yield from _node(node, frame.layout.boxes[node.id], frame.group)
    yield "</g></g>"


def _edge(curve: Curve) -> str:
    (x1, y1), (x2, y2) = curve.start, curve.end
    middle = (y1 + y2) / 2
    path = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
    if curve.lane_bottom is None:
        return f'<path class="edge" d="{path}" marker-end="url(#arrow)"/>'
    return f'<path class="edge" d="{path}V{curve.lane_bottom:.1f}"/>'


def _node(node: FoldedNode, box: Box, group: Group) -> Iterator[str]:
    colours = PALETTE[node.role]
    full = f"{node.kind} x {node.count}\n{node.settings}\n{node.spec} {node.space}"
    yield f'<g class="{"node output" if node.id == group.output else "node"}" id="{node.id}">'
    yield f"<title>{_escaped(full)}</title>"
    size = f'width="{box.size.width:.1f}" height="{box.size.height:.1f}"'
    colour = f'fill="{colours.fill}" stroke="{colours.line}"'
    yield f'<rect x="{box.left:.1f}" y="{box.top:.1f}" {size} rx="6" {colour}/>'
    lines = _lines(node)
    first = box.top + (box.size.height - LINE_HEIGHT * len(lines)) / 2 + FONT_SIZE
    for number, line in enumerate(lines):
        style = "kind" if number == 0 else "spec" if number == len(lines) - 1 else ""
        yield _text(box.centre, first + number * LINE_HEIGHT, line, style, anchor="middle")
    yield "</g>"


def _lines(node: FoldedNode) -> list[str]:
    """What is written on a node: its kind, settings, and shape and dtype."""
    text = _cut(node.settings, SETTINGS_LETTERS)
    words = wrap(text, NODE_LETTERS, break_long_words=False, break_on_hyphens=False)
    settings = (
        line[start : start + NODE_LETTERS]
        for line in words
        for start in range(0, len(line), NODE_LETTERS)
    )
    return [_cut(line, NODE_LETTERS) for line in (node.kind, *settings, node.spec)]


def _cut(line: str, letters: int) -> str:
    """The line, without its middle where it is longer: paths differ at the end."""
    if len(line) <= letters:
        return line
    half = (letters - 3) // 2
    return f"{line[:half]}...{line[-half:]}"


def _text(x: float, y: float, line: str, style: str = "", *, anchor: str = "") -> str:
    named = f' class="{style}"' if style else ""
    anchored = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}{anchored}>{_escaped(line)}</text>'


def _escaped(text: str) -> str:
    """Text that is safe in XML, which some control characters cannot be in at all."""
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text))
