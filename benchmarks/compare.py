"""Time graphmerge, mergekit and the floor on the same merges, and print a table.

Builds the checkpoints that are missing, then runs the programs in turn, each run a fresh process
with its inputs in the page cache (or, with --cold, not there). Outputs are deleted after each run.
With --json, methods that the file has already, of the same options, are not run again.
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

from processes import Usage, ready, run_or_exit, total_bytes
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
Runs = dict[str, list[Usage]]
"""Every run of one recipe, by program."""
BAR_CHARACTERS = 50
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
    runs: dict[str, Runs] = {}
    earlier = saved(arguments)
    for method in arguments.methods:
        known = earlier.get(method)
        runs[method] = known or measure(
            recipe_of(method, arguments.shape), folder, programs, arguments
        )
        if arguments.json:
            save(arguments, earlier | runs)
    print(f"\n{conditions(arguments)}\n")
    print(table(HEADER, [row(method, found) for method, found in runs.items()]))
    print(f"\n{plot(runs)}")


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
    parser.add_argument(
        "--mergekit-rounds", type=int, help="fewer rounds for mergekit (default: as --rounds)"
    )
    parser.add_argument("--cold", action="store_true", help="with inputs out of the page cache")
    parser.add_argument("--json", type=Path, help="write the figures of every run to this file")


def check_mergekit(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, once it is known that mergekit is there where it is wanted."""
    arguments = parser.parse_args()
    if not arguments.no_mergekit and not arguments.mergekit.exists():
        parser.error(f"no mergekit at {arguments.mergekit}: see --mergekit and --no-mergekit")
    return arguments


def programs_of(arguments: argparse.Namespace) -> dict[str, Callable[[Path, Path], Command]]:
    """The command of each program, as a function of recipe and output.

    The floor comes right after graphmerge: what the host of a virtual machine gives changes within
    minutes, and mergekit takes that long.
    """
    limits = ("--memory-budget", arguments.memory_budget, "--workers", arguments.workers)
    programs: dict[str, Callable[[Path, Path], Command]] = {
        "graphmerge": lambda recipe, out: graphmerge("run", recipe, out, *limits, "--quiet"),
        "floor": lambda recipe, out: [
            *(sys.executable, HERE / "floor.py", out),
            *(f"{model}:{share}" for model, share in shares(recipe).items()),
        ],
        "mergekit": lambda recipe, out: [
            *(arguments.mergekit.absolute(), recipe, out, *MERGEKIT_FLAGS)
        ],
    }
    if arguments.no_mergekit:
        del programs["mergekit"]
    return programs


def rounds_of(program: str, arguments: argparse.Namespace) -> int:
    """How many rounds a program is run in."""
    fewer = arguments.mergekit_rounds if program == "mergekit" else None
    rounds: int = fewer or arguments.rounds
    return rounds


def measure(
    recipe: Path,
    folder: Path,
    programs: dict[str, Callable[[Path, Path], Command]],
    arguments: argparse.Namespace,
) -> Runs:
    """Every run of one recipe, by program."""
    out = folder / "out"
    runs: dict[str, list[Usage]] = {name: [] for name in programs}
    for number in range(1, arguments.rounds + 1):
        for name, command in programs.items():
            if number > rounds_of(name, arguments):
                continue
            discard(out)
            make_ready(name, tensor_files(recipe, folder), cold=arguments.cold)
            usage = run_or_exit(command(recipe, out), folder)
            discard(out)
            runs[name].append(usage)
            print(
                f"{recipe.stem}, round {number}, {name}: {usage.seconds:.2f} s, "
                f"{usage.cpu_seconds:.2f} s CPU, {mib(usage.peak_bytes)}",
                flush=True,
            )
    return runs


def make_ready(program: str, files: list[Path], *, cold: bool) -> None:
    """Make files and memory ready for a program; mergekit takes up to 1.6 times its inputs."""
    needed = 2 * total_bytes(files) if program == "mergekit" else None
    ready(files, memory_bytes=needed, cold=cold)


def saved(arguments: argparse.Namespace) -> dict[str, Runs]:
    """The runs that an earlier command with the same options has saved."""
    if not arguments.json or not arguments.json.exists():
        return {}
    content = json.loads(arguments.json.read_text())
    if content["conditions"] != conditions(arguments):
        raise SystemExit(f"{arguments.json} is of other conditions: {content['conditions']}")
    return {
        method: {
            name: [Usage(**usage, output="") for usage in usages] for name, usages in found.items()
        }
        for method, found in content["runs"].items()
    }


def save(arguments: argparse.Namespace, runs: dict[str, Runs]) -> None:
    """Write all runs so far: an interrupted command goes on where it was."""
    plain = {
        method: {name: [figures(usage) for usage in usages] for name, usages in found.items()}
        for method, found in runs.items()
    }
    content = {"conditions": conditions(arguments), "runs": plain}
    arguments.json.write_text(json.dumps(content, indent=1) + "\n")


def plot(runs: dict[str, Runs]) -> str:
    """A bar per program and method, as long as its median."""
    medians = {
        (method, name): median(run.seconds for run in usages)
        for method, found in runs.items()
        for name, usages in found.items()
    }
    longest = max(medians.values())
    return "\n".join(
        f"{method:>15} {name:<10} {'#' * max(round(BAR_CHARACTERS * seconds / longest), 1)}"
        f" {seconds:.2f} s"
        for (method, name), seconds in medians.items()
    )


def row(method: str, runs: Runs) -> list[str]:
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
    mergekit = f"included, median of {rounds_of('mergekit', arguments)}"
    return (
        f"{arguments.shape}, median of {arguments.rounds}, budget {arguments.memory_budget}, "
        f"{arguments.workers} workers, {'cold' if arguments.cold else 'warm'} cache, "
        f"mergekit {'left out' if arguments.no_mergekit else mergekit}; "
        f"{processor()}, {os.cpu_count()} cores, {mib(memory)}, "
        f"Python {platform.python_version()}"
    )


def processor() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
