"""What this process takes, which may have held much for long: a notebook, a training script.

A plan assumes a process that does nothing else. Here what the process holds when the plan is made
comes on top: its resident memory, less that of one that has loaded the same libraries and no more.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.calibration import cache_file, calibrated
from graphmerge.errors import MachineError, Problem
from graphmerge.execution.peak import resident_bytes
from graphmerge.machine import keep, return_freed_memory
from graphmerge.schedule.executors import Executor
from graphmerge.units import MIB

if TYPE_CHECKING:
    from graphmerge.schedule.plan import Reserved, ReservedFor

_GROWTH_BYTES, _SHRINKING_BYTES = 8 * MIB, 32 * MIB
"""By how much the process may grow or shrink without another answer."""
_told = [0]
"""The last answer."""
_LIBRARIES = "import graphmerge.expressions.plans"
_MEASURE = "from graphmerge.execution.peak import resident_bytes; print(resident_bytes())"


def held_bytes() -> int:
    """Resident memory of this process, without what it has freed, and a little more.

    It stays the same while the process takes about the same: the least budget that one plan names
    is enough for the next one.
    """
    return_freed_memory()
    now = resident_bytes()
    if not _told[-1] - _SHRINKING_BYTES <= now <= _told[-1]:
        _told[:] = [now + _GROWTH_BYTES]
    return _told[-1]


def reserved_beside(held: int) -> ReservedFor:
    """What a process takes for an executor that holds so many bytes already.

    Args:
        held: From `held_bytes`.
    """

    def reserved(executor: Executor) -> Reserved:
        known = calibrated(executor)
        has_torch = executor is Executor.TORCH and "torch" in sys.modules
        others = others_bytes(held, with_torch=has_torch)
        return evolve(known, base_bytes=known.base_bytes + others)

    return reserved


def others_bytes(held: int, *, with_torch: bool = False) -> int:
    """What a process holds of so many bytes beside graphmerge's libraries, or them and torch."""
    return max(held - _loaded_bytes(with_torch=with_torch), 0)


def _loaded_bytes(*, with_torch: bool) -> int:
    """Resident memory of a process that has loaded libraries; measured once per environment.

    Raises:
        MachineError: the measuring process failed.
    """
    file = cache_file("loaded-torch" if with_torch else "loaded")
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        pass
    script = f"{_LIBRARIES}{', torch' if with_torch else ''}; {_MEASURE}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [""]
        raise MachineError(Problem("measuring the memory of the libraries failed", got=last[0]))
    keep(file, done.stdout.strip().encode())
    return int(done.stdout)
