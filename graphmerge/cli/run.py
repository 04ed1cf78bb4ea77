"""`graphmerge run`: merge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from graphmerge.cli import exit_codes, options
from graphmerge.cli.habits import accept_habits
from graphmerge.cli.progress import RunDisplay, bars_are_drawn, bytes_progress
from graphmerge.cli.say import say
from graphmerge.output import unfinished_commits
from graphmerge.pipeline import (
    Compiled,
    RunOptions,
    RunReport,
    check_output,
    compile_recipe,
    download,
    downloads,
    make_plan,
)
from graphmerge.pipeline import run as run_plan
from graphmerge.places import HubUse
from graphmerge.reporting.wording import counted, shard_count
from graphmerge.schedule.executors import Kernels
from graphmerge.schedule.input_reports import input_reports
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.schedule.plan import Plan


@accept_habits
def run(
    recipe: options.RecipePath,
    out: options.OutPath,
    memory_budget: options.MemoryBudget = "auto",
    workers: options.Workers = None,
    seed: options.Seed = 0,
    out_shard_size: options.ShardSize = "5GB",
    copy_tokenizer: Annotated[
        bool,
        typer.Option(
            "--copy-tokenizer/--no-copy-tokenizer",
            help="Copy the tokenizer of the base, or of the first model.",
        ),
    ] = True,
    write_model_card: options.ModelCard = True,
    unsafe_truncate_embeddings: Annotated[
        bool,
        typer.Option(
            "--unsafe-truncate-embeddings/--no-unsafe-truncate-embeddings",
            help="Where the recipe says nothing of vocabularies: as `embeddings: crop` does.",
            show_default=False,
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it holds a model.")
    ] = False,
    durable: Annotated[
        bool, typer.Option("--durable", help="Wait for the disk itself before OUT appears.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse NaN and infinity, in inputs or results."),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet/--no-quiet",
            "-q",
            help="No progress bar; warnings and the result only.",
            show_default=False,
        ),
    ] = False,
    device: options.Device = "cpu",
    cuda: Annotated[
        bool,
        typer.Option(
            "--cuda/--no-cuda", "--gpu-rich", help="As --device cuda.", show_default=False
        ),
    ] = False,
    gpu_memory_budget: options.GpuMemoryBudget = None,
    tile_elements: options.TileElements = None,
    kernels: options.KernelsOption = Kernels.AUTO,
    plugin: options.Plugins = None,
) -> None:
    """Merge the models of RECIPE into OUT; the same command again continues an interrupted run."""
    options.load_plugins(plugin)
    request = options.request(
        memory_budget,
        workers,
        "cuda" if cuda and device == "cpu" else device,
        gpu_memory_budget,
        tile_elements,
        kernels,
    )
    run_options = RunOptions(
        options.shard_size(out_shard_size),
        overwrite,
        durable,
        strict,
        copy_tokenizer=copy_tokenizer,
        write_model_card=write_model_card,
    )
    commits = {} if overwrite else unfinished_commits(out)
    compiled = compile_recipe(
        recipe,
        seed=seed,
        crop_embeddings=unsafe_truncate_embeddings,
        hub=HubUse(fetches_weights=True, commits=commits),
    )
    check_output(compiled, out, overwrite=overwrite)
    plan = make_plan(compiled, request, calibrate=True)
    plan.validate()
    try:
        _download(compiled, plan, quiet=quiet)
        with RunDisplay(plan, drawn=bars_are_drawn(quiet=quiet)) as display:
            report = run_plan(compiled, plan, out, run_options, display)
    except KeyboardInterrupt:
        say("interrupted: run the same command again to continue", err=True)
        raise typer.Exit(exit_codes.INTERRUPTED) from None
    for line in _result(plan, report, shard_count(plan, run_options.shard_bytes)):
        say(line)


def _download(compiled: Compiled, plan: Plan, *, quiet: bool) -> None:
    """Download what is missing of models of the Hub, with a bar."""
    if not compiled.commits():
        return
    wanted = downloads(compiled, input_reports(plan))
    missing_bytes = sum(one.missing_bytes for one in wanted)
    if missing_bytes:
        with bytes_progress("download", missing_bytes, quiet=quiet) as advance:
            download(compiled, plan, advance)
        files = counted(sum(len(one.missing_files) for one in wanted), "file")
        say(f"downloaded {files}, {format_bytes(missing_bytes)}", err=True)


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
