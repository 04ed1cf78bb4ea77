"""What a run takes per output tensor when tensors are many and small, as in a mixture of experts.

Merges two models of N equal tensors by linear, with one worker and with two, and times a plain
loop that reads both inputs of each tensor and writes its output, and nothing else. The overhead per
tensor is the time of the run (without planning) less that of the loop, over N.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from processes import run_or_exit
from workloads import DEFAULT_FOLDER, discard, graphmerge, table

COUNTS = (5_000, 50_000)
TENSOR_BYTES = 4096
MODELS = ("first", "second")
HEADER = ["tensors", "workers", "run", "plain loop", "overhead per tensor"]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--workers", nargs="+", default=("1", "2"))
    parser.add_argument("--rounds", type=int, default=3, help="the least counts (default 3)")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER / "many")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    figures = []
    for count in arguments.counts:
        folder = arguments.folder.absolute() / str(count)
        build(folder, count)
        plain = min(plain_loop(folder, count) for _ in range(arguments.rounds))
        for workers in arguments.workers:
            seconds = min(merge(folder, workers) for _ in range(arguments.rounds))
            overhead = (seconds - plain) / count * 1e6
            figures.append((count, int(workers), seconds, plain, overhead))
    print(table(HEADER, [row(*one) for one in figures]))
    if arguments.json:
        keys = ("tensors", "workers", "run_seconds", "plain_seconds", "overhead_microseconds")
        found = [dict(zip(keys, one, strict=True)) for one in figures]
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def row(count: int, workers: int, seconds: float, plain: float, overhead: float) -> list[str]:
    """One line of the table."""
    return [
        *(f"{count:,}", str(workers), f"{seconds:.2f} s", f"{plain:.2f} s", f"{overhead:.0f} us"),
    ]


def build(folder: Path, count: int) -> None:
    """Write the models and the recipe, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = [f"{{model: {name}, parameters: {{weight: 0.5}}}}" for name in MODELS]
    recipe = f"merge_method: linear\nmodels: [{', '.join(listed)}]\ndtype: bfloat16\n"
    (folder / "linear.yml").write_text(recipe)
    for name in MODELS:
        file = folder / name / "model.safetensors"
        if file.exists():
            continue
        file.parent.mkdir(exist_ok=True)
        (file.parent / "config.json").write_text('{"num_hidden_layers": 1}')
        write_zeros(file, count)


def write_zeros(file: Path, count: int) -> None:
    """A file of many tensors of zeros, named like the experts of one layer."""
    header = {
        f"model.layers.0.experts.{number}.weight": {
            "dtype": "BF16",
            "shape": [TENSOR_BYTES // 2],
            "data_offsets": [number * TENSOR_BYTES, (number + 1) * TENSOR_BYTES],
        }
        for number in range(count)
    }
    text = json.dumps(header).encode()
    partial = file.with_suffix(".partial")
    with partial.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text + bytes(count * TENSOR_BYTES))
    partial.rename(file)


def merge(folder: Path, workers: str) -> float:
    """Seconds of a run, as its manifest has them: without start and planning."""
    out = folder / "out"
    discard(out)
    limits = ("--memory-budget", "2GiB", "--workers", workers)
    run_or_exit(graphmerge("run", folder / "linear.yml", out, *limits, "--quiet"), folder)
    seconds: float = json.loads((out / "graphmerge.json").read_text())["seconds"]
    discard(out)
    return seconds


def plain_loop(folder: Path, count: int) -> float:
    """Seconds of one thread that reads the inputs of each tensor and writes its output."""
    out = folder / "plain"
    inputs = [os.open(folder / name / "model.safetensors", os.O_RDONLY) for name in MODELS]
    target = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    buffer = memoryview(bytearray(TENSOR_BYTES))
    began = time.perf_counter()
    for offset in range(0, count * TENSOR_BYTES, TENSOR_BYTES):
        for descriptor in inputs:
            os.preadv(descriptor, [buffer], offset)
        os.pwrite(target, buffer, offset)
    seconds = time.perf_counter() - began
    for descriptor in (*inputs, target):
        os.close(descriptor)
    discard(out)
    return seconds


if __name__ == "__main__":
    main()
