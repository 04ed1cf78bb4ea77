"""What a process of graphmerge takes before it holds any tensor, measured once per environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import xxhash

from graphmerge.errors import MachineError, Problem
from graphmerge.machine import cache_folder, installed_version, keep
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.plan import Reserved
from graphmerge.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

DEFAULTS = {
    Executor.COPY: Reserved(base_bytes=128 * MIB, worker_bytes=8 * MIB, calibrated=False),
    Executor.NATIVE: Reserved(base_bytes=256 * MIB, worker_bytes=12 * MIB, calibrated=False),
    Executor.TORCH: Reserved(base_bytes=480 * MIB, worker_bytes=24 * MIB, calibrated=False),
}
"""Assumed before anything is measured: above what any measured environment took."""
MARGIN_BYTES = 12 * MIB
"""Added to what was measured: fragmentation, and pages that one run touches and another does
not."""
_PACKAGES = ("graphmerge", "torch", "llvmlite", "numpy", "attrs", "rich", "typer", "xxhash")


def assumed(executor: Executor) -> Reserved:
    """What was measured in this environment before, else a default."""
    return _cached(executor) or DEFAULTS[executor]


def _cached(executor: Executor) -> Reserved | None:
    """What was measured in this environment before; None if nothing was."""
    try:
        content = json.loads(_file_of(executor).read_text())
        return Reserved(int(content["base_bytes"]), int(content["worker_bytes"]), calibrated=True)
    except (OSError, ValueError, KeyError):
        return None


def calibrated(executor: Executor) -> Reserved:
    """What was measured before, or else measure now (a few seconds) and remember.

    Raises:
        MachineError: the measuring process failed.
    """
    known = _cached(executor)
    if known is not None:
        return known
    one, three = (_peak_of_process(executor, workers=workers) for workers in (1, 3))
    worker_bytes = max((three - one) // 2, MIB)
    reserved = Reserved(one - worker_bytes + MARGIN_BYTES, worker_bytes, calibrated=True)
    _remember(executor, reserved)
    return reserved


def _peak_of_process(executor: Executor, *, workers: int) -> int:
    """Peak of a fresh process that has loaded what an executor needs and run tiles.

    It finds nothing in a cache: compiling takes memory, and some process is the first.
    """
    options = ("--executor", executor.value, "--workers", str(workers))
    command = [sys.executable, "-m", "graphmerge.cli", "calibrate", *options]
    with tempfile.TemporaryDirectory(prefix="graphmerge-") as empty:
        environment = {**os.environ, "XDG_CACHE_HOME": empty}
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment
        )
    if result.returncode != 0:
        last = result.stderr.strip().splitlines()[-1:] or [""]
        raise MachineError(Problem("measuring the memory of the libraries failed", got=last[0]))
    return int(result.stdout)


def _remember(executor: Executor, reserved: Reserved) -> None:
    """Write the cache; a cache that cannot be written is measured again next time."""
    content = {"base_bytes": reserved.base_bytes, "worker_bytes": reserved.worker_bytes}
    keep(_file_of(executor), json.dumps(content).encode())


def _file_of(executor: Executor) -> Path:
    return cache_file(f"reserved-{executor.value}")


def cache_file(kind: str) -> Path:
    """One file for what is measured, per interpreter, machine and versions of packages."""
    packages = [f"{name}=={installed_version(name)}" for name in _PACKAGES]
    system = os.uname()
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else ""
    machine = [system.sysname, system.release, system.machine, libc or ""]
    identity = [sys.version, sys.prefix, *machine, *packages]
    digest = xxhash.xxh3_64_hexdigest("\0".join(identity).encode())
    return cache_folder() / f"{kind}-{digest}.json"
