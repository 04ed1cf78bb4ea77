"""Time graphmerge, mergekit and the floor on the same merges, and print a table.

Builds the checkpoints that are missing, then runs the programs in turn, each run a fresh process
with its inputs in the page cache. Outputs are deleted after each run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from processes import Usage, run_or_exit, warm
from workloads import (
    HERE,
    add_arguments,
    discard,
    graphmerge,
    mib,
    prepare,
    recipe_of,
    shares,
    table,
    tensor_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Command = list[str | Path]
MERGEKIT_FLAGS = ("--quiet", "--no-write-model-card", "--no-copy-tokenizer")
"""What can be left out without a change of the tensors; all of it in mergekit's favour."""
HEADER = [
    "method",
    "graphmerge",
    "mergekit",
    "floor",
    "mergekit / graphmerge",
    "graphmerge / floor",
    "peak, graphmerge",
    "peak, mergekit",
    "CPU, graphmerge",
    "CPU, mergekit",
]


def main() -> None:
    """Run the command."""
    arguments = parse()
    folder = prepare(arguments.shape, arguments.folder)
    programs = programs_of(arguments)
    runs: dict[str, dict[str, list[Usage]]] = {}
    for method in arguments.methods:
        runs[method] = measure(recipe_of(method, arguments.shape), folder, programs, arguments)
    print(f"\n{conditions(arguments)}\n")
    print(table(HEADER, [row(method, found) for method, found in runs.items()]))
    if arguments.json:
        plain = {
            method: {name: [figures(usage) for usage in usages] for name, usages in found.items()}
            for method, found in runs.items()
        }
        arguments.json.write_text(json.dumps(plain, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    add_options(parser)
    return check_mergekit(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of comparisons with mergekit."""
    default = Path(os.environ.get("GRAPHMERGE_MERGEKIT", ".venv-mergekit/bin/mergekit-yaml"))
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--memory-budget", default="1GiB", help="default: %(default)s")
    parser.add_argument("--workers", default="2", help="default: %(default)s")
    parser.add_argument("--mergekit", type=Path, default=default, help="default: %(default)s")
    parser.add_argument("--no-mergekit", action="store_true", help="leave mergekit out")
    parser.add_argument("--json", type=Path, help="write the figures of every run to this file")


def check_mergekit(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, once it is known that mergekit is there where it is wanted."""
    arguments = parser.parse_args()
    if not arguments.no_mergekit and not arguments.mergekit.exists():
        parser.error(f"no mergekit at {arguments.mergekit}: see --mergekit and --no-mergekit")
    return arguments


def programs_of(arguments: argparse.Namespace) -> dict[str, Callable[[Path, Path], Command]]:
    """The command of each program, as a function of recipe and output."""
    limits = ("--memory-budget", arguments.memory_budget, "--workers", arguments.workers)
    programs: dict[str, Callable[[Path, Path], Command]] = {
        "graphmerge": lambda recipe, out: graphmerge("run", recipe, out, *limits, "--quiet"),
        "mergekit": lambda recipe, out: [
            *(arguments.mergekit.absolute(), recipe, out, *MERGEKIT_FLAGS)
        ],
        "floor": lambda recipe, out: [
            *(sys.executable, HERE / "floor.py", out),
            *(f"{model}:{share}" for model, share in shares(recipe).items()),
        ],
    }
    if arguments.no_mergekit:
        del programs["mergekit"]
    return programs


def measure(
    recipe: Path,
    folder: Path,
    programs: dict[str, Callable[[Path, Path], Command]],
    arguments: argparse.Namespace,
) -> dict[str, list[Usage]]:
    """Every run of one recipe, by program."""
    out = folder / "out"
    runs: dict[str, list[Usage]] = {name: [] for name in programs}
    for number in range(1, arguments.rounds + 1):
        for name, command in programs.items():
            discard(out)
            warm(tensor_files(recipe, folder))
            usage = run_or_exit(command(recipe, out), folder)
            discard(out)
            runs[name].append(usage)
            print(
                f"{recipe.stem}, round {number}, {name}: {usage.seconds:.2f} s, "
                f"{usage.cpu_seconds:.2f} s CPU, {mib(usage.peak_bytes)}",
                flush=True,
            )
    return runs


def row(method: str, runs: dict[str, list[Usage]]) -> list[str]:
    """The medians of one method as a row of the table."""
    seconds = {name: median(run.seconds for run in found) for name, found in runs.items()}
    cpu = {name: median(run.cpu_seconds for run in found) for name, found in runs.items()}
    peaks = {name: median(run.peak_bytes for run in found) for name, found in runs.items()}
    ours, floor, theirs = seconds["graphmerge"], seconds["floor"], seconds.get("mergekit")
    return [
        method,
        f"{ours:.2f} s",
        f"{theirs:.2f} s" if theirs else "-",
        f"{floor:.2f} s",
        f"{theirs / ours:.1f}x" if theirs else "-",
        f"{ours / floor:.2f}x",
        mib(peaks["graphmerge"]),
        mib(peaks["mergekit"]) if theirs else "-",
        f"{cpu['graphmerge']:.1f} s",
        f"{cpu['mergekit']:.1f} s" if theirs else "-",
    ]


def figures(usage: Usage) -> dict[str, float]:
    """The numbers of a run."""
    return {key: value for key, value in asdict(usage).items() if key != "output"}


def conditions(arguments: argparse.Namespace) -> str:
    """What the figures depend on, in one line."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (
        f"{arguments.shape}, median of {arguments.rounds}, budget {arguments.memory_budget}, "
        f"{arguments.workers} workers; {processor()}, {os.cpu_count()} cores, {mib(memory)}, "
        f"Python {platform.python_version()}"
    )


def processor() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
