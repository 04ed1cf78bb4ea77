"""Time every method beside mergekit and the floor, one after the other, and print a table.

With --json FILE the figures of each method are written as soon as it is done, and a method whose
figures are there already is not run again: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from compare import (
    add_options,
    check_mergekit,
    conditions,
    figures,
    make_ready,
    programs_of,
    rounds_of,
)
from processes import run, run_or_exit, total_bytes
from workloads import (
    DEFAULT_FOLDER,
    HERE,
    SHAPES,
    discard,
    graphmerge,
    mib,
    prepare,
    shares,
    table,
    tensor_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from compare import Command

OF_MERGEKIT = frozenset(
    [
        "linear",
        "slerp",
        "nuslerp",
        "multislerp",
        "karcher",
        "task_arithmetic",
        "ties",
        "dare_linear",
        "dare_ties",
        "della",
        "della_linear",
        "breadcrumbs",
        "breadcrumbs_ties",
        "sce",
        "model_stock",
        "nearswap",
        "arcee_fusion",
        "ram",
        "ramplus_tl",
        "passthrough",
    ]
)
"""Methods that mergekit 0.1.5 has under the same name."""
MERGED = {"unified": "emr", "masks": "emr_masks"}
"""Inputs of emr_restore, and the methods that write them."""
HEADER = [
    *("method", "graphmerge", "GB/s", "peak", "floor", "graphmerge / floor"),
    *("mergekit", "mergekit / graphmerge", "peak, mergekit"),
]


@dataclass(frozen=True)
class Case:
    """One merge to time."""

    name: str
    """What the table calls it."""
    recipe: Path
    """Its recipe, in the folder of the checkpoints."""
    moved_bytes: float
    """Bytes of the inputs that are needed, and of the output."""


def main() -> None:
    """Run the command."""
    arguments = parse()
    folder = prepare(arguments.shape, arguments.folder)
    programs = programs_of(arguments)
    done = results_so_far(arguments)
    for case in cases(folder, arguments.methods):
        if case.name not in done:
            done[case.name] = measure(case, folder, programs, arguments)
            save(done, arguments)
    print(f"\n{conditions(arguments)}\n")
    rows = [row(name, done[name]) for name in done]
    print(table(HEADER, rows))


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="1.1B", help="default: %(default)s")
    parser.add_argument("--methods", nargs="+", help="default: all that graphmerge has")
    parser.add_argument(
        "--folder", type=Path, help=f"of the checkpoints (default: {DEFAULT_FOLDER.name}/SHAPE)"
    )
    add_options(parser)
    return check_mergekit(parser)


def cases(folder: Path, wanted: list[str] | None) -> list[Case]:
    """The merges to time, their recipes written into the folder of the checkpoints."""
    printed = run_or_exit([sys.executable, HERE / "method_recipes.py"], HERE).output
    recipes: dict[str, str] = json.loads(printed)
    unknown = set(wanted or ()) - recipes.keys()
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(recipes)}")
    found: list[Case] = []
    for name, text in recipes.items():
        (folder / f"{name}.yml").write_text(text)
    for name in wanted or recipes:
        path = folder / f"{name}.yml"
        make_statistics(path, folder)
        sizes = {
            model: total_bytes((folder / model).glob("*.safetensors")) for model in shares(path)
        }
        read = sum(share * sizes[model] for model, share in shares(path).items())
        found.append(Case(name, path, read + next(iter(sizes.values()))))
    return found


def make_statistics(recipe: Path, folder: Path) -> None:
    """Write what a recipe names beside base and fine-tunes, and what is not there."""
    for name in shares(recipe):
        if (folder / name).exists():
            continue
        if name in MERGED:
            print(f"writing {folder / name}", flush=True)
            run_or_exit(graphmerge("run", f"{MERGED[name]}.yml", name, "--quiet"), folder)
        else:
            run_or_exit([sys.executable, HERE / "grams.py", folder / name], HERE)


def measure(
    case: Case,
    folder: Path,
    programs: dict[str, Callable[[Path, Path], Command]],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Figures of every run by program; of one that fails, its last words."""
    out = folder / "out"
    found: dict[str, Any] = {"moved_bytes": case.moved_bytes}
    for number in range(1, arguments.rounds + 1):
        for name, command in programs.items():
            if name == "mergekit" and case.name not in OF_MERGEKIT:
                continue
            has_failed = isinstance(found.get(name), str)
            if has_failed or number > rounds_of(name, arguments):
                continue
            discard(out)
            make_ready(name, tensor_files(case.recipe, folder), cold=arguments.cold)
            usage = run(command(case.recipe, out), folder)
            discard(out)
            shown = f"{usage.seconds:.2f} s, {mib(usage.peak_bytes)}"
            if usage.exit_code:
                found[name] = shown = usage.output.strip().splitlines()[-1]
            else:
                found.setdefault(name, []).append(figures(usage))
            print(f"{case.name}, round {number}, {name}: {shown}", flush=True)
    return found


def results_so_far(arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures by method of a run before under the same conditions."""
    if arguments.json is None or not arguments.json.exists():
        return {}
    found = json.loads(arguments.json.read_text())
    if found["conditions"] != conditions(arguments):
        raise SystemExit(
            f"{arguments.json} was taken under other conditions: {found['conditions']}; "
            f"choose another file"
        )
    methods: dict[str, Any] = found["methods"]
    return methods


def save(done: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Write the figures so far, all or nothing."""
    if arguments.json is not None:
        part = arguments.json.with_name(f"{arguments.json.name}.partial")
        content = {"conditions": conditions(arguments), "methods": done}
        part.write_text(json.dumps(content, indent=1) + "\n")
        part.replace(arguments.json)


def row(name: str, found: dict[str, Any]) -> list[str]:
    """The medians of one method as a row of the table."""
    ours, floor = (middle(found, program, "seconds") for program in ("graphmerge", "floor"))
    theirs = middle(found, "mergekit", "seconds")
    peaks = [middle(found, program, "peak_bytes") for program in ("graphmerge", "mergekit")]
    failed = isinstance(found.get("mergekit"), str)
    return [
        name,
        f"{ours:.2f} s" if ours else "failed",
        f"{found['moved_bytes'] / ours / 1e9:.2f}" if ours else "-",
        mib(peaks[0]) if peaks[0] else "-",
        f"{floor:.2f} s" if floor else "failed",
        f"{ours / floor:.2f}x" if ours and floor else "-",
        f"{theirs:.2f} s" if theirs else "failed" if failed else "-",
        f"{theirs / ours:.1f}x" if ours and theirs else "-",
        mib(peaks[1]) if peaks[1] else "-",
    ]


def middle(found: dict[str, Any], program: str, figure: str) -> float | None:
    """The median of a figure; None for a program that was not run or has failed."""
    runs = found.get(program)
    return median(run[figure] for run in runs) if isinstance(runs, list) else None


if __name__ == "__main__":
    main()
