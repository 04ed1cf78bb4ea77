"""The pool of kept inputs: buffers of their own, within the limit, without clearing pages anew."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphmerge.execution import pool as pool_module
from graphmerge.execution.pool import BufferPool
from graphmerge.units import MIB

PAGE = 4096


@given(st.data())
def test_buffers_are_their_own_and_within_the_limit(data):
    """Whatever is taken and given back, and in which order."""
    limit = 24 * PAGE
    pool, live = BufferPool(limit), {}
    for step in range(data.draw(st.integers(1, 40))):
        used = sum(pages for _, pages in live.values()) * PAGE
        pages = data.draw(st.integers(0, 8))
        if used + max(pages, 1) * PAGE <= limit and (not live or data.draw(st.booleans())):
            buffer = pool.take(pages * PAGE - data.draw(st.integers(0, 5)) if pages else 0)
            buffer[:] = step
            live[step] = buffer, max(pages, 1)
        elif live:
            buffer, _ = live.pop(data.draw(st.sampled_from(sorted(live))))
            pool.give(buffer)
        for written, (buffer, _) in live.items():
            assert (buffer == written).all()
        held = sum(pages for _, pages in live.values()) * PAGE
        assert held <= pool.held_bytes <= max(limit, held)


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


def test_free_pages_beside_used_ones_go_back_to_the_kernel():
    """Small buffers lie in two large mappings; a third large one still fits the limit."""

    def resident_bytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    before, pool = resident_bytes(), BufferPool(128 * MIB)
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
    assert resident_bytes() - before <= 132 * MIB
    assert np.all(small[0] == 0)
    assert np.all(small[-1] == 16)
    assert np.all(last == 2)
