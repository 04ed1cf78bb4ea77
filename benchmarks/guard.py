"""Fail where merges have become much slower than the disk: a guard for continuous integration.

Times each method and the floor in turn, on the 0.1B shape, and compares the ratio of the CPU time
that a merge takes beyond its start to the CPU time of the floor with a generous limit. CPU time,
since neighbours on a shared machine stretch the time on the wall; a ratio to the floor of the same
run, since machines differ. The start is what `graphmerge plan` of the same recipe takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from processes import ready, run_or_exit
from workloads import HERE, discard, graphmerge, prepare, recipe_of, shares, table, tensor_files

SHAPE = "0.1B"
LIMITS = {"linear": 4.0, "slerp": 7.0, "ties": 9.0}
"""Most CPU seconds of a merge, beyond its start, per CPU second of the floor. Measured in
benchmarks/README.md; torch kernels for ties take more than its limit allows."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="the least counts (default 3)")
    parser.add_argument("--folder", type=Path, help="of the checkpoints, made where missing")
    parser.add_argument("--json", type=Path, help="write the ratios to this file")
    parser.add_argument("--kernels", default="auto", help="as of graphmerge: to see this fail")
    arguments = parser.parse_args()
    folder = prepare(SHAPE, arguments.folder)
    ratios = {
        method: ratio(method, folder, arguments.rounds, arguments.kernels) for method in LIMITS
    }
    rows = [[name, f"{value:.1f}", f"{LIMITS[name]:.1f}"] for name, value in ratios.items()]
    print(table(["method", "CPU / floor", "limit"], rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(ratios, indent=1) + "\n")
    slow = [name for name, value in ratios.items() if value > LIMITS[name]]
    if slow:
        sys.exit(f"slower than the guard allows: {', '.join(slow)}")


def ratio(method: str, folder: Path, rounds: int, kernels: str) -> float:
    """CPU time of a merge beyond its start, over that of the floor; the least of some rounds."""
    recipe, out = recipe_of(method, SHAPE), folder / "out"
    limits = ("--memory-budget", "1GiB", "--workers", "2", "--kernels", kernels)
    commands = {
        "start": graphmerge("plan", recipe, *limits),
        "merge": graphmerge("run", recipe, out, *limits, "--quiet"),
        "floor": [sys.executable, HERE / "floor.py", out, *shares(recipe)],
    }
    least: dict[str, float] = {}
    for _ in range(rounds):
        for name, command in commands.items():
            discard(out)
            ready(tensor_files(recipe, folder))
            seconds = run_or_exit(command, folder).cpu_seconds
            least[name] = min(seconds, least.get(name, seconds))
    discard(out)
    return max(least["merge"] - least["start"], 0.0) / least["floor"]


if __name__ == "__main__":
    main()
