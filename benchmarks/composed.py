"""Time merges by built-in methods, by Python expressions and by plug-ins of the same ops.

Every run is a fresh process with its inputs in the page cache; the kinds run in turn.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median

from processes import Usage, ready, run_or_exit
from workloads import (
    HERE,
    SHAPES,
    discard,
    graphmerge,
    mib,
    prepare,
    recipe_of,
    table,
    tensor_files,
)

SAVE = """
import sys
import graphmerge as gm
base, models = gm.load("base"), [gm.load(name) for name in ("ft1", "ft2", "ft3")]
merged = {expression}
merged.save(sys.argv[1], plan=merged.plan(memory_budget=sys.argv[2], workers=int(sys.argv[3])))
"""
EXPRESSIONS = {
    "linear": "gm.weighted_sum(models, weights=[0.5, 0.3, 0.2], normalize=True)",
    "ties": "base + gm.sign_consensus("
    "[gm.sparsify(model - base, density=0.5) for model in models], weights=[0.5, 0.3, 0.2])",
}
PLUGIN = HERE / "composed_methods.py"
HEADER = ["method", "kind", "time", "CPU", "peak", "same bytes"]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="1.1B", help="default: %(default)s")
    parser.add_argument("--methods", nargs="+", choices=EXPRESSIONS, default=tuple(EXPRESSIONS))
    parser.add_argument("--folder", type=Path, help="as that of compare.py")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--memory-budget", default="1GiB", help="default: %(default)s")
    parser.add_argument("--workers", default="2", help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    folder = prepare(arguments.shape, arguments.folder)
    rows = [line for method in arguments.methods for line in measure(method, folder, arguments)]
    print(f"\n{table(HEADER, rows)}")
    if arguments.json:
        found = [dict(zip(HEADER, line, strict=True)) for line in rows]
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def measure(method: str, folder: Path, arguments: argparse.Namespace) -> list[list[str]]:
    """Every kind of one merge as rows of the table."""
    recipe, out = recipe_of(method, arguments.shape), folder / "out"
    by_plugin = folder / f"my_{method}.yml"
    by_plugin.write_text(recipe.read_text().replace("merge_method: ", "merge_method: my_"))
    limits = (arguments.memory_budget, arguments.workers)
    options = ("--memory-budget", limits[0], "--workers", limits[1], "--quiet")
    program = SAVE.format(expression=EXPRESSIONS[method])
    commands: dict[str, list[str | Path]] = {
        "built-in": graphmerge("run", recipe, out, *options),
        "expression": [sys.executable, "-c", program, out, *limits],
        "plug-in": graphmerge("run", by_plugin, out, *options, "--plugin", PLUGIN),
    }
    usages: dict[str, list[Usage]] = {kind: [] for kind in commands}
    made: dict[str, str] = {}
    for _ in range(arguments.rounds):
        for kind, command in commands.items():
            discard(out)
            ready(tensor_files(recipe, folder))
            usages[kind].append(run_or_exit(command, folder))
            made[kind] = checksums(out)
            discard(out)
    same = "yes" if len(set(made.values())) == 1 else "no"
    return [[method, kind, *medians(usages[kind]), same] for kind in commands]


def checksums(out: Path) -> str:
    """The checksums of all tensors of an output, as one text."""
    manifest = json.loads((out / "graphmerge.json").read_text())
    return json.dumps(manifest["tensors"], sort_keys=True)


def medians(usages: list[Usage]) -> list[str]:
    """What the runs of one kind took."""
    return [
        f"{median(usage.seconds for usage in usages):.2f} s",
        f"{median(usage.cpu_seconds for usage in usages):.1f} s",
        mib(median(usage.peak_bytes for usage in usages)),
    ]


if __name__ == "__main__":
    main()
