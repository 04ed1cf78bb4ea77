"""Time the run of a merge alone, again and again in one process, with its output in memory.

python benchmarks/run_alone.py --shape 0.1B --methods slerp --rounds 8

For changes of a few per cent, which whole commands on a shared machine do not show: neither start
nor planning is measured, and the memory of the output before is used again. Run the code before and
after in turn, several times.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from method_recipes import recipes
from workloads import add_arguments, prepare, recipe_of, table

from graphmerge.pipeline import RunOptions, compile_recipe, make_plan, run
from graphmerge.schedule.plan import Request
from graphmerge.testing.merging import Silent

MEMORY = Path("/dev/shm")
BUDGET_BYTES = 2**30


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser, methods=recipes())
    parser.add_argument("--rounds", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--tile-elements", type=int, help="default: as the plan has it")
    arguments = parser.parse_args()
    os.chdir(prepare(arguments.shape, arguments.folder))
    request = Request(BUDGET_BYTES, arguments.workers, tile_elements=arguments.tile_elements)
    with tempfile.TemporaryDirectory() as folder:
        files = [file_of(method, arguments.shape, Path(folder)) for method in arguments.methods]
        rows = [
            [method, *measured(file, request, arguments.rounds)]
            for method, file in zip(arguments.methods, files, strict=True)
        ]
    print(table(["method", "least", "median", "CPU, user", "CPU, system"], rows))


def file_of(method: str, shape: str, folder: Path) -> Path:
    """The recipe of a method, as `compare.py` has it, or as `methods.py`, written to the folder."""
    file = recipe_of(method, shape)
    if not file.exists():
        file = folder / f"{method}.yml"
        file.write_text(recipes()[method])
    return file


def measured(recipe: Path, request: Request, rounds: int) -> list[str]:
    """Seconds: the least and the median, and medians of CPU; the first run is not counted."""
    runs = [one_run(recipe, request) for _ in range(rounds + 1)][1:]
    seconds, user, system = zip(*runs, strict=True)
    return [f"{value:.3f} s" for value in (min(seconds), *map(median, (seconds, user, system)))]


def one_run(recipe: Path, request: Request) -> tuple[float, float, float]:
    """Seconds of a run, and of its CPU in user and system mode."""
    compiled = compile_recipe(recipe)
    plan = make_plan(compiled, request, calibrate=True)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        run(compiled, plan, Path(folder) / "out", RunOptions(), Silent())
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        shutil.rmtree(Path(folder) / "out")
    return seconds, after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
