"""Run a command as a fresh process and measure it.

The peak resident memory of a child starts at that of its parent, so that whoever imports this must
stay small: nothing outside the standard library.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_FILL = Path(__file__).with_name("fill.py")
_BUDGET_BYTES = 2**30
_TAIL = 2000
"""Characters of a failed command's output that are shown."""


@dataclass(frozen=True)
class Usage:
    """What a process took."""

    seconds: float
    """Time from start to end."""
    cpu_seconds: float
    """Time of its threads on a CPU, in user and system mode."""
    peak_bytes: int
    """Peak resident memory, mapped files included, as the kernel counts it."""
    exit_code: int
    """Zero for success."""
    output: str
    """What it printed."""


def run(command: list[str | Path], folder: Path) -> Usage:
    """Run a command in a folder, whatever its exit code."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every run compiles all modules again
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return Usage(
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
            process.returncode,
            output.read(),
        )


def run_or_exit(
    command: list[str | Path], folder: Path, *, allowed: tuple[int, ...] = (0,)
) -> Usage:
    """Run a command in a folder; an exit code that is not allowed ends this program."""
    usage = run(command, folder)
    if usage.exit_code not in allowed:
        line = " ".join(map(str, command))
        raise SystemExit(f"exit code {usage.exit_code} of {line}\n{usage.output[-_TAIL:]}")
    return usage


def ready(files: list[Path], *, memory_bytes: int | None = None, cold: bool = False) -> None:
    """Bring disk, memory and page cache into the state that every program is to find.

    The disk has written what it had to, the files are in the page cache (or, cold, not there), and
    as much free memory as a program and its output need was in use a moment ago. The host of a
    virtual machine takes free memory back, and who is the first to use it again waits for it:
    6 GB took 15 s, and 0.9 s a moment later.

    Args:
        files: Those of all input models.
        memory_bytes: What a program and its output need; else an output and the default budget.
        cold: Without the files in the page cache.
    """
    os.sync()
    (cool if cold else warm)(files)
    model_bytes = total_bytes(files) // len({file.parent for file in files})
    needed = model_bytes + _BUDGET_BYTES if memory_bytes is None else memory_bytes
    subprocess.run([sys.executable, _FILL, str(needed)], check=True)


def total_bytes(files: Iterable[Path]) -> int:
    """Bytes of all files."""
    return sum(file.stat().st_size for file in files)


def cool(files: list[Path]) -> None:
    """Drop files from the page cache."""
    for file in files:
        with file.open("rb", buffering=0) as source:
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def warm(files: list[Path]) -> None:
    """Read files into the page cache."""
    buffer = bytearray(8 * 2**20)
    for file in files:
        with file.open("rb", buffering=0) as source:
            while source.readinto(buffer):
                pass
