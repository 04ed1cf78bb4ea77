"""A plan as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from graphmerge.checkpoint.folding import fold_names
from graphmerge.cli.columns import columns
from graphmerge.cli.sparkline import sparkline
from graphmerge.cli.wording import counted
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from graphmerge.pipeline import Compiled
    from graphmerge.schedule.report_values import PlanReport, TensorGroup

SPARKLINE_COLUMNS = 60
SHOWN_OFFENDERS = 5


def show(console: Console, compiled: Compiled, report: PlanReport, *, verbose: bool) -> None:
    """Print a plan; one that does not fit begins with what needs the most."""
    if not report.fits:
        _show_offenders(console, report)
    console.print(f"recipe  {compiled.recipe.origin}: {compiled.method.name}, seed {compiled.seed}")
    _show_inputs(console, report)
    console.print(
        f"output  {counted(report.tensors, 'tensor')}, {format_bytes(report.written_bytes)} "
        f"in {counted(report.shards, 'shard')}"
    )
    _show_work(console, report)
    _show_memory(console, report)
    _show_tensors(console, "merged", report.merged, verbose=verbose)
    _show_tensors(console, "copied", report.copied, verbose=verbose)
    _show_tensors(console, "left out", report.left_out, verbose=verbose)
    for warning in report.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)


def _show_offenders(console: Console, report: PlanReport) -> None:
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
    console.print(Text(title, style="bold red"), soft_wrap=True)
    for line in columns(rows):
        console.print(Text(line, style="red"), soft_wrap=True)


def _show_inputs(console: Console, report: PlanReport) -> None:
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
    for line in columns(rows, right=(1, 2, 3)):
        console.print(line, soft_wrap=True)


def _show_work(console: Console, report: PlanReport) -> None:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in report.nodes.items())
    console.print(f"nodes   {kinds}", soft_wrap=True)
    console.print(
        f"work    {counted(report.passes, 'pass')} in {counted(len(report.units), 'unit')}, "
        f"{counted(report.workers, 'worker')} on {report.device}, tiles of "
        f"{report.tile_elements:,} elements"
    )
    console.print(f"run by  {', '.join(f'{name} {n:,}' for name, n in report.executors.items())}")
    names = [unit.name for unit in report.units]
    ends = names if len(names) < 4 else [*names[:2], "...", names[-1]]
    console.print(f"order   {', '.join(ends)}", soft_wrap=True)


def _show_memory(console: Console, report: PlanReport) -> None:
    measured = "measured on this machine" if report.calibrated else "assumed"
    share = f"{report.predicted_peak_bytes / report.budget_bytes:.0%}"
    budget = f"{share} of the budget of {format_bytes(report.budget_bytes)}"
    parts = [
        ("reserved", report.reserved_bytes, f"interpreter, libraries, threads, plan; {measured}"),
        ("live", report.live_bytes, "kept inputs and statistics"),
        ("workspace", report.workspace_bytes, "registers and kernels of all workers"),
        ("buffer", report.buffer_bytes, "read and write buffers"),
        ("predicted peak", report.predicted_peak_bytes, budget),
    ]
    if report.device_bytes:
        parts.append((f"on {report.device}", report.device_bytes, "beside the peak"))
    rows = [(f"  {name}", format_bytes(size), meaning) for name, size, meaning in parts]
    console.print("memory")
    for line in columns(rows, right=(1,)):
        console.print(line, soft_wrap=True)
    if not report.calibrated:
        console.print(
            "  (reserved is a safe default; `graphmerge calibrate` or the first run measures it)",
            soft_wrap=True,
        )
    totals = [moment.total_bytes for moment in report.moments]
    if totals:
        bars = sparkline(totals, width=SPARKLINE_COLUMNS)
        ends = f"{format_bytes(min(totals))} to {format_bytes(max(totals))}"
        console.print(f"  over time {bars} {ends}", soft_wrap=True)


def _show_tensors(
    console: Console, title: str, groups: Sequence[TensorGroup], *, verbose: bool
) -> None:
    total = sum(len(group.names) for group in groups)
    console.print(f"{title}  {counted(total, 'tensor')}")
    for group in groups:
        heading = ": ".join(filter(None, (group.model, group.reason)))
        if heading:
            console.print(f"  {heading}", soft_wrap=True)
        for line in _names(group.names, verbose=verbose):
            console.print(f"    {line}", soft_wrap=True)


def _names(names: Iterable[str], *, verbose: bool) -> list[str]:
    if verbose:
        return list(names)
    return [
        folded.pattern + (f"  ({len(folded.names)})" if len(folded.names) > 1 else "")
        for folded in fold_names(names)
    ]
