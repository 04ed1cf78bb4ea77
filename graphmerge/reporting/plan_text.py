"""A plan as text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.checkpoint.folding import fold_names
from graphmerge.frozen_classes import frozen
from graphmerge.pipeline import downloads
from graphmerge.reporting.columns import columns
from graphmerge.reporting.sparkline import sparkline
from graphmerge.reporting.wording import counted
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from graphmerge.hub_files import Downloads
    from graphmerge.pipeline import Compiled
    from graphmerge.schedule.report_values import PlanReport, SharedResults, TensorGroup

SPARKLINE_COLUMNS = 60
SHOWN_OFFENDERS = 5


@frozen
class Line:
    """A line of text."""

    text: str
    """What it says."""
    is_error: bool = False
    """Whether it says why a plan cannot be run."""
    is_warning: bool = False
    """Whether it is a warning."""


def plan_lines(compiled: Compiled, report: PlanReport, *, verbose: bool) -> Iterator[Line]:
    """A plan, line by line; one that does not fit begins with what needs the most."""
    if not report.fits:
        yield from (Line(text, is_error=True) for text in _offenders(report))
    yield from map(Line, _plan(compiled, report, verbose=verbose))
    yield from (Line(f"note: {text}") for text in report.notes)
    yield from (Line(f"warning: {text}", is_warning=True) for text in report.warnings)


def _plan(compiled: Compiled, report: PlanReport, *, verbose: bool) -> Iterator[str]:
    yield (f"recipe  {compiled.recipe.origin}: {compiled.recipe.methods}, seed {compiled.seed}")
    yield from _inputs(report)
    yield from _downloads(downloads(compiled, report.inputs))
    yield (
        f"output  {counted(report.tensors, 'tensor')}, {format_bytes(report.written_bytes)} "
        f"in {counted(report.shards, 'shard')}"
    )
    yield from _work(report)
    yield from _memory(report)
    yield from _tensors("merged", report.merged, verbose=verbose)
    yield from _tensors("copied", report.copied, verbose=verbose)
    yield from _tensors("left out", report.left_out, verbose=verbose)


def _offenders(report: PlanReport) -> Iterator[str]:
    title = (
        f"DOES NOT FIT: {format_bytes(report.budget_bytes)} given, at least "
        f"{format_bytes(report.least_budget_bytes)} needed, of which "
        f"{format_bytes(report.reserved_bytes)} are reserved. Most is needed by:"
    )
    needs: dict[tuple[int, int], list[str]] = {}
    for unit in report.offenders():
        needs.setdefault((unit.tile_bytes, unit.live_bytes), []).append(unit.name)
    rows = [
        (
            f"  {format_bytes(tile_bytes)} for a tile,",
            f"{format_bytes(live_bytes)} live",
            ", ".join(folded.pattern for folded in fold_names(names)),
        )
        for (tile_bytes, live_bytes), names in list(needs.items())[:SHOWN_OFFENDERS]
    ]
    yield title
    yield from columns(rows)


def _inputs(report: PlanReport) -> Iterator[str]:
    rows = [("inputs", "tensors", "files", "to read", "dtypes")]
    rows += [
        (
            f"  {model.model}",
            str(model.tensors),
            str(len(model.files)),
            format_bytes(model.read_bytes),
            ", ".join(model.dtypes),
        )
        for model in report.inputs
    ]
    yield from columns(rows, right=(1, 2, 3))


def _downloads(found: Sequence[Downloads]) -> Iterator[str]:
    """What a run downloads of the Hub, and what it finds in the cache."""
    if not found:
        return
    rows = [("from the Hub", "commit", "to download", "in the cache")]
    rows += [
        (
            f"  {one.repository}@{one.revision}",
            one.commit[:12],
            f"{counted(len(one.missing_files), 'file')}, {format_bytes(one.missing_bytes)}",
            f"{counted(len(one.cached_files), 'file')}, {format_bytes(one.cached_bytes)}",
        )
        for one in found
    ]
    yield from columns(rows)


def _work(report: PlanReport) -> Iterator[str]:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in report.nodes.items())
    yield f"nodes   {kinds}"
    yield (
        f"work    {counted(report.passes, 'pass')} in {counted(len(report.units), 'unit')}, "
        f"{counted(report.workers, 'worker')} on {report.device}, tiles of "
        f"{report.tile_elements:,} elements"
    )
    yield from _shared("stored", report.stored, "computed once, in memory for")
    yield from _shared("again", report.computed_again, "computed in each of")
    yield f"run by  {', '.join(f'{name} {n:,}' for name, n in report.executors.items())}"
    units = report.units
    shown = units if len(units) < 4 else (*units[:2], units[-1])
    ends = [unit.name for unit in shown]
    if len(units) > len(ends):
        ends.insert(-1, "...")
    yield f"order   {', '.join(ends)}"


def _shared(title: str, results: SharedResults, fate: str) -> Iterator[str]:
    """Results that several passes need, those of a kind and a number of passes together."""
    counts: Counter[tuple[str, int]] = Counter()
    largest: dict[tuple[str, int], int] = {}
    for (kind, passes, size), count in results.counted():
        counts[kind, passes] += count
        largest[kind, passes] = max(size, largest.get((kind, passes), 0))
    for (kind, passes), count in counts.items():
        most = format_bytes(largest[kind, passes])
        yield f"{title:<8}{kind} {count:,}, {fate} {counted(passes, 'pass')}, up to {most}"


def _memory(report: PlanReport) -> Iterator[str]:
    measured = "measured on this machine" if report.calibrated else "assumed"
    share = f"{report.predicted_peak_bytes / report.budget_bytes:.0%}"
    budget = f"{share} of the budget of {format_bytes(report.budget_bytes)}"
    parts = [
        ("reserved", report.reserved_bytes, f"interpreter, libraries, threads, plan; {measured}"),
        ("live", report.live_bytes, "kept inputs, stored results and statistics"),
        ("workspace", report.workspace_bytes, "registers and kernels of all workers"),
        ("buffer", report.buffer_bytes, "read and write buffers"),
        ("predicted peak", report.predicted_peak_bytes, budget),
    ]
    if report.device_bytes:
        parts.append((f"on {report.device}", report.device_bytes, "beside the peak"))
    rows = [(f"  {name}", format_bytes(size), meaning) for name, size, meaning in parts]
    yield "memory"
    yield from columns(rows, right=(1,))
    if not report.calibrated:
        yield (
            "  (reserved is a safe default; `graphmerge calibrate` or the first run measures it)"
        )
    totals = report.moments.total_bytes
    if totals:
        bars = sparkline(totals, width=SPARKLINE_COLUMNS)
        ends = f"{format_bytes(min(totals))} to {format_bytes(max(totals))}"
        yield f"  over time {bars} {ends}"


def _tensors(title: str, groups: Sequence[TensorGroup], *, verbose: bool) -> Iterator[str]:
    total = sum(len(group.names) for group in groups)
    yield f"{title}  {counted(total, 'tensor')}"
    for group in groups:
        heading = ": ".join(filter(None, (group.model, group.reason)))
        if heading:
            yield f"  {heading}"
        for line in _names(group.names, verbose=verbose):
            yield f"    {line}"


def _names(names: Iterable[str], *, verbose: bool) -> list[str]:
    if verbose:
        return list(names)
    return [
        folded.pattern + (f"  ({len(folded.names)})" if len(folded.names) > 1 else "")
        for folded in fold_names(names)
    ]
