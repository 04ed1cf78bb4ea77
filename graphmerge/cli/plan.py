"""`graphmerge plan`: show what a run would do, from file headers alone."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from graphmerge.cli import options
from graphmerge.cli.console import stdout_console
from graphmerge.cli.explain import explanation
from graphmerge.collection import paused_collection
from graphmerge.pipeline import compile_recipe, make_plan
from graphmerge.reporting.plan_json import plan_json
from graphmerge.reporting.plan_text import plan_lines
from graphmerge.reporting.wording import shard_count
from graphmerge.schedule.executors import Kernels
from graphmerge.schedule.report import report


@paused_collection()
def plan(
    recipe: options.RecipePath,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Accepted and without effect: a plan never runs.")
    ] = False,
    memory_budget: options.MemoryBudget = "auto",
    workers: options.Workers = None,
    seed: options.Seed = 0,
    out_shard_size: options.ShardSize = "5GB",
    explain: Annotated[
        str | None,
        typer.Option(metavar="TENSOR", help="Draw how one output tensor is computed, instead."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name every tensor; do not fold layers.")
    ] = False,
    as_json: options.Json = False,
    device: options.Device = "cpu",
    gpu_memory_budget: options.GpuMemoryBudget = None,
    tile_elements: options.TileElements = None,
    kernels: options.KernelsOption = Kernels.AUTO,
    plugin: options.Plugins = None,
) -> None:
    """Show what a run would do and the memory it would take, without reading a single weight."""
    options.load_plugins(plugin)
    request = options.request(
        memory_budget, workers, device, gpu_memory_budget, tile_elements, kernels
    )
    shard_bytes = options.shard_size(out_shard_size)
    compiled = compile_recipe(recipe, seed=seed)
    made = make_plan(compiled, request, calibrate=False)
    if explain:
        stdout_console().print(explanation(made, explain))
        return
    found = report(made, shards=shard_count(made, shard_bytes))
    if as_json:
        typer.echo(plan_json(compiled, found))
    else:
        console = stdout_console()
        for line in plan_lines(compiled, found, verbose=verbose):
            style = "red" if line.is_error else "yellow" if line.is_warning else ""
            console.print(Text(line.text, style=style), soft_wrap=True)
    made.validate()
