"""`graphmerge plan`: show what a run would do, from file headers alone."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from graphmerge.cli import options
from graphmerge.cli.say import visible
from graphmerge.collection import paused_collection
from graphmerge.errors import InputError, Problem
from graphmerge.pipeline import compile_recipe, make_plan
from graphmerge.reporting.plan_json import plan_json
from graphmerge.reporting.plan_text import plan_lines
from graphmerge.reporting.wording import shard_count
from graphmerge.schedule.executors import Kernels
from graphmerge.schedule.report import report

if TYPE_CHECKING:
    from graphmerge.reporting.plan_text import Line
    from graphmerge.schedule.plan import Plan


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
    if explain and as_json:
        hint = "leave one of them out, or draw it by `graphmerge show --json`"
        raise InputError(Problem("--explain draws, and has no JSON", "--json", hint=hint))
    options.load_plugins(plugin)
    request = options.request(
        memory_budget, workers, device, gpu_memory_budget, tile_elements, kernels
    )
    shard_bytes = options.shard_size(out_shard_size)
    compiled = compile_recipe(recipe, seed=seed)
    made = make_plan(compiled, request, calibrate=False)
    if explain:
        _draw(made, explain)
        return
    found = report(made, shards=shard_count(made, shard_bytes))
    if as_json:
        typer.echo(plan_json(compiled, found))
    else:
        for style, lines in groupby(plan_lines(compiled, found, verbose=verbose), key=_style):
            _print("\n".join(visible(line.text) for line in lines), style)
    made.validate()


def _style(line: Line) -> str:
    return "red" if line.is_error else "yellow" if line.is_warning else ""


def _print(text: str, style: str) -> None:
    if not style:
        typer.echo(text)
        return
    from rich.text import Text  # noqa: PLC0415 - slow to import, and most plans need no colour

    from graphmerge.cli.console import stdout_console  # noqa: PLC0415 - as above

    stdout_console().print(Text(text, style=style), soft_wrap=True)


def _draw(made: Plan, tensor: str) -> None:
    """Print how one output tensor is computed."""
    from graphmerge.cli.console import stdout_console  # noqa: PLC0415 - slow to import
    from graphmerge.cli.explain import explanation  # noqa: PLC0415 - as above

    stdout_console().print(explanation(made, tensor))
