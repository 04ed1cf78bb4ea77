"""Fail where merges have become much slower than the disk: a guard for continuous integration.

Times each method and the floor in turn, on the 0.1B shape, and compares the ratio of the CPU time
that a merge takes beyond its start to the CPU time of the floor with a generous limit. CPU time,
since neighbours on a shared machine stretch the time on the wall; a ratio to the floor of the same
run, since machines differ. The start is what `graphmerge plan` of the same recipe takes. The least
of some rounds counts; a method over its limit is measured for as many rounds again, since code that
is slow stays slow, and what else a machine does passes.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from processes import ready, run_or_exit
from workloads import HERE, discard, graphmerge, prepare, recipe_of, shares, table, tensor_files

SHAPE = "0.1B"
LIMITS = {"linear": 4.0, "slerp": 7.0, "ties": 9.0}
"""Most CPU seconds of a merge, beyond its start, per CPU second of the floor. Measured in
benchmarks/README.md; torch kernels for ties take more than its limit allows."""


@dataclass
class Least:
    """The least CPU seconds of a method's commands so far."""

    start: float = float("inf")
    merge: float = float("inf")
    floor: float = float("inf")

    @property
    def ratio(self) -> float:
        """Of the merge beyond its start to the floor."""
        return max(self.merge - self.start, 0.0) / self.floor


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="the least counts (default 3)")
    parser.add_argument("--folder", type=Path, help="of the checkpoints, made where missing")
    parser.add_argument("--json", type=Path, help="write the ratios to this file")
    parser.add_argument("--kernels", default="auto", help="as of graphmerge: to see this fail")
    arguments = parser.parse_args()
    folder = prepare(SHAPE, arguments.folder)
    measured = {method: Least() for method in LIMITS}
    slow = list(LIMITS)
    for _ in range(2):
        for _ in range(arguments.rounds):
            for method in slow:
                measure(method, folder, arguments.kernels, measured[method])
        slow = [method for method in slow if measured[method].ratio > LIMITS[method]]
    print(table(["method", "start", "merge", "floor", "ratio", "limit"], rows_of(measured)))
    if arguments.json:
        ratios = {method: least.ratio for method, least in measured.items()}
        arguments.json.write_text(json.dumps(ratios, indent=1) + "\n")
    if slow:
        sys.exit(f"slower than the guard allows: {', '.join(slow)}")


def measure(method: str, folder: Path, kernels: str, least: Least) -> None:
    """Run each command once, and keep its CPU time where it is the least so far."""
    recipe, out = recipe_of(method, SHAPE), folder / "out"
    limits = ("--memory-budget", "1GiB", "--workers", "2", "--kernels", kernels)
    commands = {
        "start": graphmerge("plan", recipe, *limits),
        "merge": graphmerge("run", recipe, out, *limits, "--quiet"),
        "floor": [sys.executable, HERE / "floor.py", out, *shares(recipe)],
    }
    for name, command in commands.items():
        discard(out)
        ready(tensor_files(recipe, folder))
        seconds = run_or_exit(command, folder).cpu_seconds
        setattr(least, name, min(seconds, getattr(least, name)))
    discard(out)


def rows_of(measured: dict[str, Least]) -> list[list[str]]:
    """A line for every method: CPU seconds, their ratio and its limit."""
    return [
        [
            method,
            *(f"{seconds:.2f} s" for seconds in (least.start, least.merge, least.floor)),
            f"{least.ratio:.1f}",
            f"{LIMITS[method]:.1f}",
        ]
        for method, least in measured.items()
    ]


if __name__ == "__main__":
    main()
