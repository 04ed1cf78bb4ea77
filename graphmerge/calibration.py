"""What a process of graphmerge takes before it holds any tensor, measured once per environment."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import xxhash

from graphmerge.errors import MachineError, Problem
from graphmerge.schedule.plan import Reserved
from graphmerge.units import MIB

DEFAULT = Reserved(base_bytes=480 * MIB, worker_bytes=24 * MIB, calibrated=False)
"""Assumed before anything is measured: above what any measured environment took (about 330 MiB)."""
MARGIN_BYTES = 12 * MIB
"""Added to what was measured: fragmentation, and pages that one run touches and another does
not."""
_PACKAGES = ("graphmerge", "torch", "numpy", "attrs", "rich", "typer", "xxhash")


def cached_reserved() -> Reserved | None:
    """What was measured in this environment before; None if nothing was."""
    try:
        content = json.loads(_cache_file().read_text())
        return Reserved(int(content["base_bytes"]), int(content["worker_bytes"]), calibrated=True)
    except (OSError, ValueError, KeyError):
        return None


def calibrate() -> Reserved:
    """What was measured before, or else measure now (a few seconds) and remember.

    Raises:
        MachineError: the measuring process failed.
    """
    known = cached_reserved()
    if known is not None:
        return known
    one, three = _peak_of_process(workers=1), _peak_of_process(workers=3)
    worker_bytes = max((three - one) // 2, MIB)
    reserved = Reserved(one - worker_bytes + MARGIN_BYTES, worker_bytes, calibrated=True)
    _remember(reserved)
    return reserved


def _peak_of_process(*, workers: int) -> int:
    """Peak of a fresh process that loads everything and runs a tile of every kernel."""
    command = [sys.executable, "-m", "graphmerge.cli", "calibrate", "--workers", str(workers)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        last = result.stderr.strip().splitlines()[-1:] or [""]
        raise MachineError(Problem("measuring the memory of the libraries failed", got=last[0]))
    return int(result.stdout)


def _remember(reserved: Reserved) -> None:
    """Write the cache; a cache that cannot be written is measured again next time."""
    path = _cache_file()
    content = {"base_bytes": reserved.base_bytes, "worker_bytes": reserved.worker_bytes}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(content))
        temporary.replace(path)
    except OSError:
        return


def _cache_file() -> Path:
    """One file per interpreter, machine and versions of packages."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    packages = [f"{name}=={version(name)}" for name in _PACKAGES]
    identity = [sys.version, sys.prefix, platform.platform(), platform.processor(), *packages]
    digest = xxhash.xxh3_64_hexdigest("\0".join(identity).encode())
    return Path(root) / "graphmerge" / f"reserved-{digest}.json"
