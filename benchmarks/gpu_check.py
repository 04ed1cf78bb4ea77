"""CPU and GPU side by side: one merge per method on each, with seconds and the ratio.

Usage: python benchmarks/gpu_check.py CHECKPOINTS  (a folder made by benchmarks/checkpoints.py)
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import torch
import yaml

from graphmerge.pipeline import RunOptions, compile_recipe, make_plan, run
from graphmerge.schedule.plan import Request
from graphmerge.testing.merging import Silent
from graphmerge.units import GIB

METHODS = ("linear", "slerp", "ties", "dare_ties")


def recipe(method: str, folder: Path) -> dict[str, object]:
    """A recipe over the base and fine-tunes in a folder."""
    base = {"base_model": str(folder / "base")}
    if method == "slerp":
        models = [{"model": str(folder / name)} for name in ("base", "ft1")]
        return {"merge_method": method, **base, "models": models, "parameters": {"t": 0.4}}
    models = [
        {"model": str(folder / name), "parameters": {"weight": 0.3, "density": 0.5}}
        for name in ("ft1", "ft2", "ft3")
    ]
    if method == "linear":
        models = [{"model": m["model"], "parameters": {"weight": 0.3}} for m in models]
        base = {}
    return {"merge_method": method, **base, "models": models}


def seconds(path: Path, device: str) -> float:
    """Duration of one merge, its output thrown away."""
    compiled = compile_recipe(path)
    request = Request(8 * GIB, 2, device=device, gpu_budget_bytes=8 * GIB)
    plan = make_plan(compiled, request, calibrate=True)
    out = path.with_name("out")
    started = time.perf_counter()
    run(compiled, plan, out, RunOptions(), Silent())
    elapsed = time.perf_counter() - started
    shutil.rmtree(out)
    return elapsed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path)
    folder = parser.parse_args().checkpoints.resolve()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here")
    print(f"| method | CPU s | {torch.cuda.get_device_name()} s | CPU / GPU |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for method in METHODS:
            path = Path(scratch) / "recipe.yml"
            path.write_text(yaml.safe_dump(recipe(method, folder)))
            seconds(path, "cuda")  # the first use of a device compiles and warms up
            cpu, gpu = seconds(path, "cpu"), seconds(path, "cuda")
            print(f"| {method} | {cpu:.2f} | {gpu:.2f} | {cpu / gpu:.2f} |")


if __name__ == "__main__":
    main()
