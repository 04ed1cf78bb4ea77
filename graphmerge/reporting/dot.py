"""A drawing in the language of Graphviz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import Space
from graphmerge.reporting.drawing import LOAD
from graphmerge.reporting.palette import PALETTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from graphmerge.reporting.drawing import Drawing, FoldedNode, Group

_SHAPES = {
    LOAD: "cylinder",
    Space.WEIGHT.value: "box",
    Space.DELTA.value: "hexagon",
    Space.STATISTIC.value: "ellipse",
}


def dot_text(drawing: Drawing, title: str) -> str:
    """A drawing as a DOT digraph, with a cluster for each group."""
    return "\n".join(_lines(drawing, title)) + "\n"


def _lines(drawing: Drawing, title: str) -> Iterator[str]:
    yield "digraph merge {"
    yield f"  label={_quoted([title])};"
    yield '  labelloc="t";'
    yield '  node [style="filled", fontname="monospace", fontsize="11"];'
    yield '  edge [color="#78909c"];'
    for number, group in enumerate(drawing.groups):
        yield f"  subgraph cluster_{number} {{"
        yield from (f"    {line}" for line in _group(group))
        yield "  }"
    yield "}"


def _group(group: Group) -> Iterator[str]:
    yield f"label={_quoted(group.heading())};"
    yield 'color="#b0bec5";'
    for node in group.nodes:
        yield _node(node, is_output=node.id == group.output)
    for edge in group.edges:
        yield f"{_quoted([edge.source])} -> {_quoted([edge.target])};"


def _node(node: FoldedNode, *, is_output: bool) -> str:
    colours = PALETTE[node.role]
    attributes = {
        "label": _quoted(filter(None, (node.kind, node.settings, node.spec))),
        "shape": f'"{_SHAPES[node.role]}"',
        "fillcolor": f'"{colours.fill}"',
        "color": f'"{colours.line}"',
        "penwidth": '"3"' if is_output else '"1"',
    }
    shown = ", ".join(f"{name}={value}" for name, value in attributes.items())
    return f"{_quoted([node.id])} [{shown}];"


def _quoted(lines: Iterable[str]) -> str:
    """A string of DOT. Graphviz reads backslashes and `&amp;` in it, so those are escaped."""
    return '"' + "\\n".join(_escaped(line) for line in lines) + '"'


def _escaped(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return plain.replace("\r", "").replace("\n", "\\n")
