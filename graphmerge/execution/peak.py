"""Resident memory of this process, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path

from graphmerge.errors import MachineError

_STATUS = Path("/proc/self/status")


def measured_peak_bytes() -> int:
    """High-water mark of the resident set of this process. Raises MachineError outside Linux."""
    return _field("VmHWM")


def resident_bytes() -> int:
    """Resident set of this moment. Raises MachineError outside Linux."""
    return _field("VmRSS")


def _field(name: str) -> int:
    try:
        text = _STATUS.read_text()
    except OSError as error:
        raise MachineError(
            f"cannot read resident memory from {_STATUS}: {error.strerror}"
        ) from error
    line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
