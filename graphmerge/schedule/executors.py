"""What runs the program of a pass."""

from __future__ import annotations

import importlib.util
import platform
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from graphmerge.errors import InputError, Problem

if TYPE_CHECKING:
    from graphmerge.schedule.plan import Request

_NEEDED_FLAGS = {"avx2", "f16c", "fma"}
"""What an x86 processor must have: else half precision and fused multiply-add are slow calls."""


class Executor(Enum):
    """What runs the program of a pass."""

    COPY = "copy"
    """Nothing is computed: bytes go from file to file."""
    NATIVE = "native"
    """One function for the whole program, compiled by LLVM."""
    TORCH = "torch"
    """One torch kernel after the other."""


class Kernels(Enum):
    """What a user may ask for."""

    AUTO = "auto"
    """Native code where there is some, else torch."""
    NATIVE = "native"
    """Native code; an error where this machine has none. Single ops without it go to torch."""
    TORCH = "torch"
    """Torch for everything that is computed."""


def uses_native_code(request: Request) -> bool:
    """Whether programs are to be compiled where they can be.

    Raises:
        InputError: native code was asked for and is not to be had.
    """
    if request.kernels is Kernels.TORCH:
        return False
    missing = _what_is_missing(request.device)
    if missing and request.kernels is Kernels.NATIVE:
        raise InputError(Problem("no native code here", "--kernels", missing, hint="use auto"))
    return not missing


def _what_is_missing(device: str) -> str:
    """Why native code is not to be had; empty if it is."""
    if device != "cpu":
        return f"it runs on the cpu, the device is {device}"
    if importlib.util.find_spec("llvmlite") is None:
        return "llvmlite is not installed"
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return ""
    if machine in ("x86_64", "amd64") and _processor_flags() >= _NEEDED_FLAGS:
        return ""
    return f"the processor ({machine}) has no AVX2, FMA and F16C, or does not say so"


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
