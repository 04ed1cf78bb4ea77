"""Run graphmerge in this process and print its peak memory: `measured_merge.py WASTE ARGS...`.

WASTE is how many bytes every elementwise kernel, and the native code of every op, allocates once,
beside what the op declares.
"""

import atexit
import sys
from importlib import import_module

import numpy as np
from attrs import evolve

from graphmerge.cli.app import main
from graphmerge.execution.peak import measured_peak_bytes


def wasteful(kernel, waste):
    remaining = [waste]  # once is enough for the high-water mark, and every tile would take minutes

    def run(op, given):
        while remaining:
            np.ones(remaining.pop(), dtype=np.uint8)
        return kernel(op, given)

    return run


def waste_in_torch(waste):
    from graphmerge.kernels import registry

    for op, kernel in registry._KERNELS.items():
        registry._KERNELS[op] = wasteful(kernel, waste)


def waste_in_native_code(waste):
    from graphmerge.native import registry

    for module in registry._MODULES:
        import_module(f"graphmerge.native.{module}")
    for op, code in registry._LOWERINGS.items():
        registry._LOWERINGS[op] = evolve(code, arguments=wasteful(code.arguments, waste))


waste = int(sys.argv.pop(1))
if waste and "torch" in sys.argv:
    waste_in_torch(waste)
elif waste:
    waste_in_native_code(waste)
atexit.register(lambda: sys.stderr.write(f"VmHWM {measured_peak_bytes()}\n"))
main()
