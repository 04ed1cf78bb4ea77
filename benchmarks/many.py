"""What a run takes per output tensor when tensors are many and small, as in a mixture of experts.

Merges two models of N equal tensors by linear, with one worker and with two, and times a plain
loop that reads both inputs of each tensor and writes its output, and nothing else. The overhead per
tensor is the time of the run (without start and planning) less that of the loop, over N. In CPU
time, of all threads, start and planning are what `graphmerge plan` of the same recipe takes; what
the run does after the last tensor (manifest, model card) counts, which the clock leaves out.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from processes import run_or_exit
from workloads import DEFAULT_FOLDER, discard, graphmerge, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COUNTS = (5_000, 50_000)
TENSOR_BYTES = 4096
MODELS = ("first", "second")
HEADER = ["tensors", "workers", "run", "plain loop", "overhead", "CPU", "plain CPU", "CPU overhead"]
KEYS = (
    "tensors",
    "workers",
    "run_seconds",
    "plain_seconds",
    "overhead_microseconds",
    "run_cpu_seconds",
    "plain_cpu_seconds",
    "cpu_overhead_microseconds",
)

Times = tuple[float, float]
"""Seconds by the clock and of CPU time."""


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
        rounds = range(arguments.rounds)
        plain = least(plain_loop(folder, count) for _ in rounds)
        for workers in arguments.workers:
            run = least(merge(folder, workers) for _ in rounds)
            figures.append((count, int(workers), *both(run, plain, count)))
    print(table(HEADER, [row(*one) for one in figures]))
    if arguments.json:
        found = [dict(zip(KEYS, one, strict=True)) for one in figures]
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def least(times: Iterable[Times]) -> Times:
    """The least by the clock, and the least of CPU time."""
    seconds, cpu_seconds = zip(*times, strict=True)
    return min(seconds), min(cpu_seconds)


def both(run: Times, plain: Times, count: int) -> Iterator[float]:
    """Run, plain loop and overhead in microseconds: by the clock, and of CPU time."""
    for one, other in zip(run, plain, strict=True):
        yield from (one, other, (one - other) / count * 1e6)


def row(count: int, workers: int, *times: float) -> list[str]:
    """One line of the table."""
    units = ("{:.2f} s", "{:.2f} s", "{:.0f} us") * 2
    shown = [unit.format(time) for unit, time in zip(units, times, strict=True)]
    return [f"{count:,}", str(workers), *shown]


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


def merge(folder: Path, workers: str) -> Times:
    """What a run takes without start and planning; by the clock as its manifest has it."""
    recipe, out = folder / "linear.yml", folder / "out"
    discard(out)
    limits = ("--memory-budget", "2GiB", "--workers", workers)
    start = run_or_exit(graphmerge("plan", recipe, *limits), folder)
    usage = run_or_exit(graphmerge("run", recipe, out, *limits, "--quiet"), folder)
    seconds: float = json.loads((out / "graphmerge.json").read_text())["seconds"]
    discard(out)
    return seconds, usage.cpu_seconds - start.cpu_seconds


def plain_loop(folder: Path, count: int) -> Times:
    """What one thread takes that reads the inputs of each tensor and writes its output."""
    out = folder / "plain"
    inputs = [os.open(folder / name / "model.safetensors", os.O_RDONLY) for name in MODELS]
    target = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    buffer = memoryview(bytearray(TENSOR_BYTES))
    began, began_cpu = time.perf_counter(), time.process_time()
    for offset in range(0, count * TENSOR_BYTES, TENSOR_BYTES):
        for descriptor in inputs:
            os.preadv(descriptor, [buffer], offset)
        os.pwrite(target, buffer, offset)
    times = time.perf_counter() - began, time.process_time() - began_cpu
    for descriptor in (*inputs, target):
        os.close(descriptor)
    discard(out)
    return times


if __name__ == "__main__":
    main()
