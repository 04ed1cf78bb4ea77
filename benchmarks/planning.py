"""Time `graphmerge plan`, from the start of Python to its end, for models of many tensors.

Mixtures of experts with 5,000, 50,000 and 100,000 tensors and a dense model of 70 billion
parameters, as headers without data; merged linearly and by lines (two models), by ties, dare_ties,
della, tsv_m and the like (four), some of them with statistics of the whole model.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from processes import Usage, run_or_exit
from workloads import DEFAULT_FOLDER, HERE, graphmerge, mib, table

SHAPES = {"small": (4, 2), "70B": (80, 0), "5k": (30, 53), "50k": (60, 275), "100k": (60, 553)}
"""Layers and experts; no experts in a dense model."""
METHODS = ("linear", "ties", "dare_ties", "della", "lines", "tsv_m", "metagpt", "ties-model", "pcb")
"""Recipes: methods, and ties with statistics of the whole model."""
CHOICES = (*METHODS, "nested")
"""And metagpt of two results of ties, whose planning takes long: only where asked for."""
HEADER = ["shape", "tensors", "method", "seconds", "CPU seconds", "us of CPU per tensor", "peak"]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=SHAPES, help="default: all")
    parser.add_argument("--methods", nargs="+", choices=CHOICES, default=METHODS)
    parser.add_argument("--rounds", type=int, default=5, help="the best counts (%(default)s)")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER / "planning")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    bare = best([sys.executable, "-c", "import graphmerge"], HERE, rounds)
    print(f"import graphmerge: {bare.seconds:.2f} s, {bare.cpu_seconds:.2f} s of CPU", flush=True)
    rows = [
        row(shape, method, arguments.folder.absolute() / shape, rounds)
        for shape in arguments.shapes
        for method in arguments.methods
    ]
    print(f"\n{table(HEADER, rows)}")


def row(shape: str, method: str, folder: Path, rounds: int) -> list[str]:
    """One shape and method as a row of the table."""
    layers, experts = SHAPES[shape]
    run_or_exit([sys.executable, HERE / "headers.py", str(layers), str(experts), folder], HERE)
    recipe = HERE / "recipes" / f"plan-{method}.yml"
    usage = best(graphmerge("plan", recipe, "--memory-budget", "16GiB"), folder, rounds)
    tensors = layers * ((7 + 3 * experts) if experts else 9) + 3
    line = [
        shape,
        f"{tensors:,}",
        method,
        f"{usage.seconds:.2f}",
        f"{usage.cpu_seconds:.2f}",
        f"{usage.cpu_seconds / tensors * 1e6:.0f}",
        mib(usage.peak_bytes),
    ]
    print(", ".join(line), flush=True)
    return line


def best(command: list[str | Path], folder: Path, rounds: int) -> Usage:
    """The run that took the least time on a CPU."""
    runs = [run_or_exit(command, folder) for _ in range(rounds)]
    return min(runs, key=lambda usage: usage.cpu_seconds)


if __name__ == "__main__":
    main()
