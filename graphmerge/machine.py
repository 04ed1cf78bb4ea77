"""What this machine offers: cores and memory."""

from __future__ import annotations

import os
from pathlib import Path

from graphmerge.units import GIB

AUTO_BUDGET_SHARE = 0.8
"""Share of the memory that is available now which `--memory-budget auto` allows."""


def default_workers() -> int:
    """One worker per core that this process may use, at most eight."""
    return min(len(os.sched_getaffinity(0)), 8)


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
