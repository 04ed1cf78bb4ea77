"""Run graphmerge in this process and print its peak memory: `measured_merge.py WASTE ARGS...`.

WASTE is how many bytes every elementwise kernel allocates once, beside what its op declares.
"""

import atexit
import sys

import numpy as np

from graphmerge.cli.app import main
from graphmerge.execution.peak import measured_peak_bytes
from graphmerge.kernels import registry


def wasteful(kernel, waste):
    remaining = [waste]  # once is enough for the high-water mark, and every tile would take minutes

    def run(op, tile):
        while remaining:
            np.ones(remaining.pop(), dtype=np.uint8)
        kernel(op, tile)

    return run


waste = int(sys.argv.pop(1))
if waste:
    for op, kernel in registry._KERNELS.items():
        registry._KERNELS[op] = wasteful(kernel, waste)
atexit.register(lambda: sys.stderr.write(f"VmHWM {measured_peak_bytes()}\n"))
main()
