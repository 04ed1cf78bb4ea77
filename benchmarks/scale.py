"""Time merges of several sizes of model, budgets and numbers of workers, and print a table.

Every run is a fresh process with its inputs in the page cache, beside a run of the floor for each
shape and method in the same round. With --json, the figures of a run that the file has already are
not taken again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from itertools import product
from pathlib import Path
from statistics import median

from processes import Usage, ready, run_or_exit
from workloads import (
    DEFAULT_FOLDER,
    HERE,
    METHODS,
    SHAPES,
    discard,
    mib,
    prepare,
    recipe_of,
    run_within,
    shares,
    table,
    tensor_files,
)

BUDGETS = ("512MiB", "1GiB", "2GiB", "4GiB", "8GiB")
WORKERS = ("1", "2")
MODEL_GB = {"0.1B": 0.3, "1.1B": 2.3, "7B": 13.6}
"""Disk space that a checkpoint of a shape takes."""
HEADER = ["shape", "method", "budget", "workers", "time", "CPU", "peak", "floor", "time / floor"]

Figures = dict[str, float | None]
"""Medians of one kind of run; None for what no plan fits."""


def main() -> None:
    """Run the command."""
    arguments = parse()
    figures = json.loads(arguments.json.read_text()) if has_saved(arguments) else {}
    for shape in arguments.shapes:
        folder = (arguments.folder or DEFAULT_FOLDER).absolute() / shape
        models = sorted(
            {name for one in arguments.methods for name in shares(recipe_of(one, shape))}
        )
        needed = needed_gb(shape, folder, models)
        if free_gb(folder) < needed:
            print(f"{shape} left out: it takes {needed:.0f} GB of disk", flush=True)
            continue
        prepare(shape, folder, models)
        for method in arguments.methods:
            measure(shape, method, folder, arguments, figures)
    rows = [row(key.split(), one) for key, one in figures.items()]
    print(f"\n{table(HEADER, rows)}")


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=SHAPES)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=("linear", "ties"))
    parser.add_argument("--budgets", nargs="+", default=BUDGETS)
    parser.add_argument("--workers", nargs="+", default=WORKERS)
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="has a folder for each shape")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def has_saved(arguments: argparse.Namespace) -> bool:
    """Whether an earlier command has left figures."""
    return arguments.json is not None and arguments.json.exists()


def needed_gb(shape: str, folder: Path, models: list[str]) -> float:
    """Disk space for an output and the models that are missing.

    The base that fine-tunes are made from is gone again before there is an output.
    """
    missing = sum(not (folder / name).exists() for name in models)
    return MODEL_GB[shape] * (missing + 1)


def free_gb(folder: Path) -> float:
    """Free space where a folder is, or will be."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free / 1e9


def measure(
    shape: str,
    method: str,
    folder: Path,
    arguments: argparse.Namespace,
    figures: dict[str, Figures],
) -> None:
    """Run one method of one shape at every budget and number of workers that is not known yet."""
    recipe, out = recipe_of(method, shape), folder / "out"
    pairs = list(product(arguments.budgets, arguments.workers))
    wanted = [pair for pair in pairs if " ".join((shape, method, *pair)) not in figures]
    runs: dict[tuple[str, str], list[Usage]] = {pair: [] for pair in wanted}
    floors: list[Usage] = []
    for _ in range(arguments.rounds if wanted else 0):
        floor = [sys.executable, HERE / "floor.py", out]
        models = [f"{model}:{share}" for model, share in shares(recipe).items()]
        ready(tensor_files(recipe, folder))
        floors.append(run_or_exit([*floor, *models], folder))
        discard(out)
        for budget, workers in wanted:
            ready(tensor_files(recipe, folder))
            usage = run_within(recipe, out, folder, budget, workers)
            discard(out)
            runs[budget, workers].append(usage)
            print(f"{shape} {method} {budget} {workers}: {usage.seconds:.2f} s", flush=True)
    for (budget, workers), usages in runs.items():
        figures[f"{shape} {method} {budget} {workers}"] = medians(usages, floors)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def medians(usages: list[Usage], floors: list[Usage]) -> Figures:
    """What runs of one kind took, beside the floor."""
    if any(usage.exit_code for usage in usages):
        return dict.fromkeys(("seconds", "cpu_seconds", "peak_bytes", "floor_seconds"))
    return {
        "seconds": median(usage.seconds for usage in usages),
        "cpu_seconds": median(usage.cpu_seconds for usage in usages),
        "peak_bytes": median(usage.peak_bytes for usage in usages),
        "floor_seconds": median(usage.seconds for usage in floors),
    }


def row(key: list[str], one: Figures) -> list[str]:
    """One line of the table."""
    seconds, cpu_seconds, peak_bytes, floor_seconds = one.values()
    if seconds is None or cpu_seconds is None or peak_bytes is None or floor_seconds is None:
        return [*key, "no plan fits", "-", "-", "-", "-"]
    ratio = f"{seconds / floor_seconds:.2f}x"
    times = (f"{seconds:.2f} s", f"{cpu_seconds:.1f} s")
    return [*key, *times, mib(peak_bytes), f"{floor_seconds:.2f} s", ratio]


if __name__ == "__main__":
    main()
