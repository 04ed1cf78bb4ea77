"""What the benchmarks run: recipes over the checkpoints of a shape, and the commands."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from processes import run_or_exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from processes import Usage

HERE = Path(__file__).parent
METHODS = (
    "linear",
    "task_arithmetic",
    "slerp",
    "ties",
    "dare_linear",
    "dare_ties",
    "passthrough",
)
SHAPES = ("0.1B", "1.1B", "7B")
DEFAULT_FOLDER = HERE.parent / "build" / "benchmarks"
MIB = 2**20
BUDGET_TOO_SMALL = 3
"""graphmerge's exit code where no plan fits the budget."""


def add_arguments(parser: argparse.ArgumentParser, methods: Iterable[str] = ()) -> None:
    """The options that all benchmarks have; some know further methods."""
    known = [*METHODS, *(method for method in methods if method not in METHODS)]
    parser.add_argument("--shape", choices=SHAPES, default="1.1B", help="default: %(default)s")
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=known,
        default=METHODS,
        metavar="METHOD",
        help=f"default: {' '.join(METHODS)}",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="of base, ft1, ft2, ft3; made where missing (default: build/benchmarks/SHAPE)",
    )


def prepare(shape: str, folder: Path | None, models: Iterable[str] = ()) -> Path:
    """The folder with the checkpoints of a shape (default: all), which are built if missing."""
    folder = (folder or DEFAULT_FOLDER / shape).absolute()
    run_or_exit([sys.executable, HERE / "checkpoints.py", shape, folder, *models], HERE)
    run_or_exit([*graphmerge("calibrate")], HERE)
    return folder


def graphmerge(*arguments: str | Path) -> list[str | Path]:
    """The command line of this environment's graphmerge."""
    return [sys.executable, "-m", "graphmerge.cli", *arguments]


def run_within(recipe: Path, out: Path, folder: Path, budget: str, workers: str) -> Usage:
    """A merge within limits; its exit code is BUDGET_TOO_SMALL where no plan fits."""
    limits = ("--memory-budget", budget, "--workers", workers)
    command = graphmerge("run", recipe, out, *limits, "--quiet")
    return run_or_exit(command, folder, allowed=(0, BUDGET_TOO_SMALL))


def recipe_of(method: str, shape: str) -> Path:
    """The recipe of a method; the slices of passthrough depend on the number of layers."""
    of_shape = HERE / "recipes" / f"{method}-{shape}.yml"
    return of_shape if of_shape.exists() else HERE / "recipes" / f"{method}.yml"


def shares(recipe: Path) -> dict[str, float]:
    """The models of a recipe and their statistics, and which share of each is read."""
    text = recipe.read_text()
    ranges = re.findall(r"model: (\w+), layer_range: \[(\d+), (\d+)\]", text)
    if ranges:
        layers = max(int(end) for _, _, end in ranges)
        return {model: (int(end) - int(start)) / layers for model, start, end in ranges}
    return dict.fromkeys(re.findall(r"(?:model|statistics): (\w+)", text), 1.0)


def tensor_files(recipe: Path, folder: Path) -> list[Path]:
    """The input files of a recipe."""
    return [file for model in shares(recipe) for file in (folder / model).glob("*.safetensors")]


def discard(out: Path) -> None:
    """Delete an output, finished or not."""
    for path in (out, out.with_name(f"{out.name}.partial")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, text to the left and numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def mib(size_bytes: float) -> str:
    """A size in MiB."""
    return f"{size_bytes / MIB:,.0f} MiB"
