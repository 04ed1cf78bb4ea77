"""Options that several commands share, and what they mean for the planner."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from attrs import evolve

from graphmerge.errors import InputError, Problem
from graphmerge.machine import MOST_WORKERS, auto_budget_bytes, check_device, default_workers
from graphmerge.plugins.discovery import load_plugin_file
from graphmerge.schedule.executors import Kernels
from graphmerge.schedule.plan import Request
from graphmerge.units import parse_bytes

RecipePath = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="Recipe in YAML.", show_default=False)
]
OutPath = Annotated[
    Path, typer.Argument(metavar="OUT", help="Folder of the output.", show_default=False)
]
MemoryBudget = Annotated[
    str,
    typer.Option(
        metavar="SIZE|auto",
        help="Most resident memory of the whole process, such as 2GiB; auto: 80% of what is free.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "--num-threads",
        "-j",
        min=1,
        max=MOST_WORKERS,
        help="Most worker threads.",
        show_default="one per core, at most 8",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
ModelCard = Annotated[
    bool, typer.Option("--write-model-card/--no-write-model-card", help="Write a README.md.")
]
Seed = Annotated[int, typer.Option("--seed", "--random-seed", help="Seed of random masks.")]
ShardSize = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        help="Largest size of an output file (a tensor is never cut); 5B is 5 billion bytes.",
    ),
]
KernelsOption = Annotated[
    Kernels, typer.Option(help="What computes: native code where there is some, or torch.")
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Python file with merge methods; repeatable."),
]
Device = Annotated[str, typer.Option(help="Where the arithmetic runs: cpu, cuda or cuda:N.")]
GpuMemoryBudget = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Most memory on the GPU.", show_default=False),
]
TileElements = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="For experts: elements of a tile, a multiple of 65536.",
        show_default="chosen by the planner",
    ),
]
_BILLIONS = re.compile(r"\s*([\d.]+)\s*[bB]\s*")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def size(option: str, text: str) -> int:
    """Bytes that an option gives.

    Raises:
        InputError: the text is no size.
    """
    try:
        return parse_bytes(text)
    except InputError as error:
        (problem,) = error.problems
        raise InputError(evolve(problem, where=option)) from None


def shard_size(text: str) -> int:
    """Bytes of a shard; a lone `B` counts billions, as mergekit-yaml has it and scripts use it.

    Raises:
        InputError: the text is no size.
    """
    billions = _BILLIONS.fullmatch(text)
    return size("--out-shard-size", f"{billions[1]}GB" if billions else text)


def load_plugins(files: list[Path] | None) -> None:
    """Import the files that `--plugin` names.

    Raises:
        RecipeError: there is no such file, or it fails to import.
    """
    for file in files or ():
        load_plugin_file(file)


def budget_bytes(text: str) -> int:
    """Bytes of `--memory-budget`; `auto` is a share of what is free.

    Raises:
        InputError: the text is no size.
    """
    is_auto = text.strip().lower() == "auto"
    return auto_budget_bytes() if is_auto else size("--memory-budget", text)


def request(
    memory_budget: str,
    workers: int | None,
    device: str,
    gpu_memory_budget: str | None,
    tile_elements: int | None,
    kernels: Kernels,
) -> Request:
    """What the options allow a plan to take.

    Raises:
        InputError: a size or the device makes no sense.
    """
    budget = budget_bytes(memory_budget)
    gpu_budget = size("--gpu-memory-budget", gpu_memory_budget) if gpu_memory_budget else None
    if gpu_budget is not None and device == "cpu":
        what, hint = "no GPU is used", "add --device cuda, or leave it out"
        got = gpu_memory_budget or ""
        raise InputError(Problem(what, "--gpu-memory-budget", got, hint=hint))
    check_device(device, "--device")
    workers = workers or default_workers()
    return Request(budget, workers, device, gpu_budget, tile_elements, kernels)
