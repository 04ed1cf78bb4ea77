"""The pool of kept inputs: buffers of their own, within the limit, without clearing pages anew."""

import ctypes
import mmap
import random
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from graphmerge.execution import pool as pool_module
from graphmerge.execution.pool import BufferPool
from graphmerge.units import MIB

PAGE = mmap.PAGESIZE
UNITS = 24
"""How many units of memory may be held."""


def resident_bytes(mapping):
    """How much of a mapping holds memory, as the kernel says (mincore)."""
    address = np.frombuffer(mapping, np.uint8).__array_interface__["data"][0]
    pages = np.zeros(len(mapping) // PAGE, np.uint8)
    found = (
        ctypes.c_void_p(address),
        ctypes.c_size_t(len(mapping)),
        ctypes.c_void_p(pages.ctypes.data),
    )
    assert ctypes.CDLL(None).mincore(*found) == 0
    return int(np.count_nonzero(pages & 1)) * PAGE


@pytest.mark.parametrize(("unit_bytes", "seeds"), [(PAGE, range(200)), (MIB, range(10))])
def test_buffers_are_their_own_and_within_the_limit(unit_bytes, seeds, monkeypatch):
    """Whatever is taken and given back, and in which order; large ones are in huge pages."""
    mappings, make = [], pool_module.anonymous_memory

    def noted(size_bytes):
        mapping = make(size_bytes)
        mappings.append(weakref.ref(mapping))
        return mapping

    monkeypatch.setattr(pool_module, "anonymous_memory", noted)
    for chance in map(random.Random, seeds):
        mappings.clear()
        for held_bytes in use(BufferPool(UNITS * unit_bytes), unit_bytes, chance):
            alive = [mapping for mapping in (one() for one in mappings) if mapping is not None]
            assert sum(map(resident_bytes, alive)) <= held_bytes <= UNITS * unit_bytes
            del alive


def use(pool, unit_bytes, chance):
    """Take buffers and give them back, each with what was written; yields what is held."""
    live = {}
    for step in range(60):
        used = sum(units for _, units in live.values())
        units = chance.randrange(9)
        if used + max(units, 1) <= UNITS and (not live or chance.random() < 0.55):
            buffer = pool.take(units * unit_bytes - chance.randrange(5) * bool(units))
            buffer[::PAGE] = step
            live[step] = buffer, max(units, 1)
        elif live:
            pool.give(live.pop(chance.choice(sorted(live)))[0])
        buffer = None
        assert all((buffer[::PAGE] == written).all() for written, (buffer, _) in live.items())
        yield pool.held_bytes


@pytest.fixture
def mapped(monkeypatch):
    """Sizes of the mappings that were asked for."""
    sizes, make = [], pool_module.anonymous_memory

    def counted(size_bytes):
        sizes.append(size_bytes)
        return make(size_bytes)

    monkeypatch.setattr(pool_module, "anonymous_memory", counted)
    return sizes


@pytest.mark.parametrize("missing_bytes", [0, PAGE])
def test_tensors_of_every_size_of_a_layer_take_their_turns_in_the_same_memory(
    mapped, missing_bytes
):
    """Two inputs at a time of 22, 8 and 1 MiB, as layers have them, in 44 MiB or a page less."""
    pool = BufferPool(44 * MIB - missing_bytes)
    for size in [22 * MIB, 22 * MIB, MIB, 8 * MIB, 8 * MIB, MIB] * 5:
        pair = pool.take(size), pool.take(size)
        for buffer in pair:
            pool.give(buffer)
    assert mapped == [22 * MIB, 22 * MIB]


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_free_pages_beside_used_ones_go_back_to_the_kernel():
    """Small buffers lie in two large mappings; a third large one still fits the limit."""

    def whole_process_bytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    before, pool = whole_process_bytes(), BufferPool(128 * MIB)
    large = [pool.take(64 * MIB) for _ in range(2)]
    for buffer in large:
        buffer[:] = 1
        pool.give(buffer)
    small = [pool.take(4 * MIB) for _ in range(17)]
    for number, buffer in enumerate(small):
        buffer[:] = number
    for buffer in small[1:-1]:
        pool.give(buffer)
    last = pool.take(100 * MIB)
    last[:] = 2
    assert pool.held_bytes <= 128 * MIB
    assert whole_process_bytes() - before <= 132 * MIB
    assert np.all(small[0] == 0)
    assert np.all(small[-1] == 16)
    assert np.all(last == 2)
