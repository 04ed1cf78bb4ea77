"""`graphmerge run`: merge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from graphmerge.cli import exit_codes, options
from graphmerge.cli.progress import RunDisplay
from graphmerge.pipeline import RunOptions, RunReport, check_output, compile_recipe, make_plan
from graphmerge.pipeline import run as run_plan
from graphmerge.reporting.wording import counted, shard_count
from graphmerge.schedule.executors import Kernels
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.schedule.plan import Plan


def run(
    recipe: options.RecipePath,
    out: options.OutPath,
    memory_budget: options.MemoryBudget = "auto",
    workers: options.Workers = None,
    seed: options.Seed = 0,
    out_shard_size: options.ShardSize = "5GB",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it holds a model.")
    ] = False,
    durable: Annotated[
        bool, typer.Option("--durable", help="Wait for the disk itself before OUT appears.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse inputs with NaN or infinity.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar; warnings and the result only.")
    ] = False,
    device: options.Device = "cpu",
    gpu_memory_budget: options.GpuMemoryBudget = None,
    tile_elements: options.TileElements = None,
    kernels: options.KernelsOption = Kernels.AUTO,
    plugin: options.Plugins = None,
) -> None:
    """Merge the models of RECIPE into OUT; the same command again continues an interrupted run."""
    options.load_plugins(plugin)
    request = options.request(
        memory_budget, workers, device, gpu_memory_budget, tile_elements, kernels
    )
    run_options = RunOptions(
        options.size("--out-shard-size", out_shard_size), overwrite, durable, strict
    )
    compiled = compile_recipe(recipe, seed=seed)
    check_output(compiled, out, overwrite=overwrite)
    plan = make_plan(compiled, request, calibrate=True)
    plan.validate()
    try:
        with RunDisplay(plan, quiet=quiet) as display:
            report = run_plan(compiled, plan, out, run_options, display)
    except KeyboardInterrupt:
        typer.echo("interrupted: run the same command again to continue", err=True)
        raise typer.Exit(exit_codes.INTERRUPTED) from None
    for line in _result(plan, report, shard_count(plan, run_options.shard_bytes)):
        typer.echo(line)


def _result(plan: Plan, report: RunReport, shards: int) -> Iterator[str]:
    """What was written, and how well its memory was predicted."""
    tensors = counted(len(plan.graph.outputs), "tensor")
    size = format_bytes(plan.written_bytes)
    files = counted(shards, "shard")
    yield f"wrote {report.out}: {tensors}, {size} in {files}, {report.seconds:.1f} s"
    predicted, measured = report.predicted_peak_bytes, report.measured_peak_bytes
    yield (
        f"peak: predicted {format_bytes(predicted)}, measured {format_bytes(measured)} "
        f"({measured / predicted:.0%})"
    )
