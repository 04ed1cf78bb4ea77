"""Plans and expressions for notebooks: small, self-contained HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from graphmerge.checkpoint.folding import fold_names
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from graphmerge.reporting.plan_text import Line
    from graphmerge.schedule.report_values import PlanReport

_PARTS = ("reserved", "live", "workspace", "buffer")
_COLOURS = ("#7f8c99", "#4c78a8", "#f58518", "#54a24b")


def plan_html(lines: Iterable[Line], report: PlanReport) -> str:
    """A plan: a bar of its memory against the budget, and its text."""
    sizes = [getattr(report, f"{part}_bytes") for part in _PARTS]
    whole = max(report.budget_bytes, report.predicted_peak_bytes, 1)
    bars = "".join(
        f'<span title="{part}: {format_bytes(size)}" style="display:inline-block;height:1em;'
        f'width:{100 * size / whole:.2f}%;background:{colour}"></span>'
        for part, size, colour in zip(_PARTS, sizes, _COLOURS, strict=True)
    )
    verdict = "fits" if report.fits else "does not fit"
    title = (
        f"{format_bytes(report.predicted_peak_bytes)} predicted, "
        f"{format_bytes(report.budget_bytes)} budget: {verdict}"
    )
    text = "\n".join(escape(line.text) for line in lines)
    bar = f'<div style="border:1px solid #999;white-space:nowrap;font-size:0">{bars}</div>'
    details = f"<details open><summary>plan</summary><pre>{text}</pre></details>"
    return f"<div><b>{title}</b>{bar}{details}</div>"


def expression_html(text: str, tensors: Mapping[str, str]) -> str:
    """An expression: what it is, and its tensors with repeated layers folded."""
    rows = "".join(
        f"<tr><td><code>{escape(folded.pattern)}</code></td><td>{len(folded.names)}</td>"
        f"<td>{escape(tensors[folded.names[0]])}</td></tr>"
        for folded in fold_names(tensors)
    )
    head = "<tr><th>tensor</th><th>number</th><th>of</th></tr>"
    return (
        f"<div><code>{escape(text)}</code><details><summary>{len(tensors)} tensors</summary>"
        f"<table>{head}{rows}</table></details></div>"
    )
