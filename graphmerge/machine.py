"""What this machine offers: cores, memory, packages and a folder for caches."""

from __future__ import annotations

import ctypes
import os
import re
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

from graphmerge.errors import InputError, Problem
from graphmerge.units import GIB

AUTO_BUDGET_SHARE = 0.8
"""Share of the memory that is available now which `--memory-budget auto` allows."""
MOST_WORKERS = 256
"""Most worker threads that may be asked for."""

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


def check_device(device: str, where: str) -> None:
    """Check that a text names a kind of device; whether it is there is another question.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        where: Where the text was given, for the message.

    Raises:
        InputError: it does not.
    """
    if not _DEVICE.fullmatch(device):
        raise InputError(Problem("unknown device", where, device, "cpu, cuda or cuda:N"))


@cache
def installed_version(package: str) -> str:
    """The version of a package; `none` where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def installed_versions() -> dict[str, str]:
    """Versions of python and of the packages that an output's bytes or files may depend on."""
    packages = ("torch", "llvmlite", "numpy", "safetensors")
    return {"python": python_version()} | {name: installed_version(name) for name in packages}


def cache_folder() -> Path:
    """Where this user's processes keep what they can make again; it may not exist yet."""
    if root := os.environ.get("XDG_CACHE_HOME"):
        return Path(root) / "graphmerge"
    try:
        return Path.home() / ".cache" / "graphmerge"
    except RuntimeError:  # in a container, a user without a name and a home
        return Path(os.environ.get("TMPDIR", "/tmp")) / f"graphmerge-{os.geteuid()}"


def keep(file: Path, content: bytes) -> None:
    """Write a file of the cache folder, whole or not at all; where that fails, nothing is kept."""
    temporary = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(file)


def default_workers() -> int:
    """One worker per core that this process may use, at most eight."""
    return min(len(os.sched_getaffinity(0)), 8)


def return_freed_memory() -> None:
    """Return to the kernel what the C library keeps of freed memory; only glibc does that."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def auto_budget_bytes() -> int:
    """What `--memory-budget auto` allows: a share of what machine and control group have left."""
    available = _available_bytes()
    return int(available * AUTO_BUDGET_SHARE)


def _available_bytes() -> int:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 4 * GIB
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        available = min(available, max(int(text) - used, 0))
    return available
