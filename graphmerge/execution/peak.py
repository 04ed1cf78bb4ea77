"""Resident memory of this process, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path

from graphmerge.errors import MachineError

_STATUS = Path("/proc/self/status")
_CLEAR_REFS, _RESET_PEAK = Path("/proc/self/clear_refs"), "5"


def measured_peak_bytes() -> int:
    """High-water mark of the resident set of this process. Raises MachineError outside Linux."""
    return _field("VmHWM")


def begin_new_peak() -> bool:
    """Have the high-water mark start from what is resident now; False where Linux forbids it."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


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
