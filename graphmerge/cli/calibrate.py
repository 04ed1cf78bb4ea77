"""`graphmerge calibrate`: what a process takes before it holds any tensor."""

from __future__ import annotations

from typing import Annotated

import typer

from graphmerge import calibration
from graphmerge.cli.say import say
from graphmerge.schedule.executors import Executor
from graphmerge.units import format_bytes


def calibrate(
    executor: Annotated[
        Executor | None,
        typer.Option(hidden=True, help="Measure this one, in this process; print bytes only."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, hidden=True, help="Workers to measure.")] = 1,
) -> None:
    """Measure, once, the memory that plans reserve for interpreter, libraries and threads."""
    if executor is not None:
        from graphmerge.cli.baseline import baseline_peak_bytes  # noqa: PLC0415 - a merge of its own

        say(str(baseline_peak_bytes(executor, workers)))
        return
    for each in Executor:
        reserved = calibration.calibrated(each)
        say(
            f"reserved by {each.value}: {format_bytes(reserved.base_bytes)}, "
            f"and {format_bytes(reserved.worker_bytes)} for each worker"
        )
