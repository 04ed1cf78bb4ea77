"""Compare the peak memory that plans predict with what runs measure, and print a table.

Every method at several budgets; and slerp and ties of a model whose embedding, 1.5 GiB, is larger
than the whole budget of 1 GiB.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from processes import warm
from workloads import (
    BUDGET_TOO_SMALL,
    add_arguments,
    discard,
    mib,
    prepare,
    recipe_of,
    run_within,
    table,
    tensor_files,
)

BUDGETS = ("512MiB", "1GiB", "2GiB", "4GiB")
WIDE_METHODS = ("slerp", "ties")
WIDE_BUDGET = "1GiB"
HEADER = ["model", "method", "budget", "predicted", "measured", "measured / predicted", "time"]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--budgets", nargs="+", default=BUDGETS, help="default: %(default)s")
    parser.add_argument("--workers", default="2", help="default: %(default)s")
    parser.add_argument("--wide-folder", type=Path, help="as --folder, for the wide model")
    parser.add_argument("--no-wide", action="store_true", help="leave the wide model out")
    arguments = parser.parse_args()
    folder = prepare(arguments.shape, arguments.folder)
    rows = [
        row(arguments.shape, folder, method, budget, arguments.workers)
        for method in arguments.methods
        for budget in arguments.budgets
    ]
    if not arguments.no_wide:
        folder = prepare("wide", arguments.wide_folder)
        rows += [
            row("wide", folder, method, WIDE_BUDGET, arguments.workers) for method in WIDE_METHODS
        ]
    print(f"\n{table(HEADER, rows)}")


def row(shape: str, folder: Path, method: str, budget: str, workers: str) -> list[str]:
    """One run as a row of the table."""
    recipe, out = recipe_of(method, shape), folder / "out"
    discard(out)
    warm(tensor_files(recipe, folder))
    usage = run_within(recipe, out, folder, budget, workers)
    if usage.exit_code == BUDGET_TOO_SMALL:
        print(usage.output, flush=True)
        return [shape, method, budget, "no plan fits", "-", "-", "-"]
    predicted = json.loads((out / "graphmerge.json").read_text())["predicted_peak_bytes"]
    discard(out)
    line = [
        shape,
        method,
        budget,
        mib(predicted),
        mib(usage.peak_bytes),
        f"{usage.peak_bytes / predicted:.3f}",
        f"{usage.seconds:.1f} s",
    ]
    print(", ".join(line), flush=True)
    return line


if __name__ == "__main__":
    main()
