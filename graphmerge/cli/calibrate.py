"""`graphmerge calibrate`: what a process takes before it holds any tensor."""

from __future__ import annotations

from typing import Annotated

import typer

from graphmerge import calibration
from graphmerge.units import format_bytes


def calibrate(
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            hidden=True,
            help="Measure in this process, with that many workers; print bytes only.",
        ),
    ] = None,
) -> None:
    """Measure, once, the memory that plans reserve for interpreter, libraries and threads."""
    if workers is not None:
        from graphmerge.cli.baseline import baseline_peak_bytes  # noqa: PLC0415 - imports torch

        typer.echo(baseline_peak_bytes(workers))
        return
    reserved = calibration.calibrate()
    typer.echo(
        f"reserved: {format_bytes(reserved.base_bytes)}, "
        f"and {format_bytes(reserved.worker_bytes)} for each worker"
    )
