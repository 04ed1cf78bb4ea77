"""Native code reads its inputs from files block by block: the same as from memory, and it says
which one it could not read. It looks for NaN in them where it is to.
"""

import os

import numpy as np
import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphmerge.graph import make_node
from graphmerge.native import PreparedCall, arguments_of, function_for
from graphmerge.ops.arithmetic import Cast, weighted
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.spherical import Gram
from graphmerge.schedule.fusion import fused_layout
from graphmerge.schedule.program import compile_program
from graphmerge.spec import DType
from graphmerge.testing.drawn_graphs import stored

ELEMENTS = 3 * BLOCK_ELEMENTS
DTYPES = (DType.BF16, DType.F32)
MARGIN_BYTES = 24
"""What stands before the tensor in its file."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of each dtype, as a path and as values without NaN and infinity."""
    folder, generator = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    numbers = generator.standard_normal((2, ELEMENTS), dtype=np.float32)
    values = ((numbers[0].view(np.uint32) >> 16).astype(np.uint16), numbers[1])
    found = []
    for number, value in enumerate(values):
        path = folder / str(number)
        path.write_bytes(b"x" * MARGIN_BYTES + value.tobytes())
        found.append((path, value.view(np.uint8)))
    return found


def prepared(count, *, reads_blocks, looks=True):
    """A program that sums two tensors and takes their products: its call, output and room."""
    loads = [stored(name, (count,), dtype) for name, dtype in zip("ab", DTYPES, strict=True)]
    wide = make_node(Cast(DType.F32), loads[0])
    summed = make_node(weighted((0.25, 0.5), normalize=False), wide, loads[1])
    program = compile_program((make_node(Gram(), wide, loads[1]),), summed)
    layout = fused_layout(program)
    program = evolve(program, fused=layout)
    arguments = arguments_of(program, {})
    output = np.zeros(4 * count, np.uint8)
    memory = np.zeros(layout.scratch_bytes + 64, np.uint8)
    scratch = memory[-memory.ctypes.data % 64 :][: layout.scratch_bytes]
    partials = np.zeros(layout.partial_bytes(count), np.uint8)
    function = function_for(program, arguments, looks=looks)
    call = PreparedCall(function, layout, arguments, scratch, partials, count, 1)
    dtypes = [load.spec.dtype for load in program.loads]
    room = min(count, BLOCK_ELEMENTS) if reads_blocks else count
    buffers = [np.zeros(room * dtype.bits // 8, np.uint8) for dtype in dtypes]
    return call, output, buffers, [DTYPES.index(dtype) for dtype in dtypes]


def outcome_of(call, output, buffers, start, places=()):
    outcome = call(buffers, start, places, output)
    assert outcome.unread is None
    (sums,) = outcome.partials.values()
    return output.tobytes(), sums.tobytes(), outcome.not_finite


@pytest.mark.parametrize("reads_blocks", [True, False])
@given(blocks=st.integers(0, 2), rest=st.integers(0, BLOCK_ELEMENTS), in_file=st.integers(1, 3))
@example(blocks=1, rest=0, in_file=3)
@example(blocks=2, rest=1, in_file=3)
@example(blocks=0, rest=BLOCK_ELEMENTS - 1, in_file=3)
@settings(max_examples=20, deadline=None)
def test_what_is_read_block_by_block_gives_the_same_bytes(
    files, reads_blocks, blocks, rest, in_file
):
    count = max(1, blocks * BLOCK_ELEMENTS + rest)
    start = BLOCK_ELEMENTS * ((ELEMENTS - count) // BLOCK_ELEMENTS)
    call, output, buffers, kinds = prepared(count, reads_blocks=False)
    wanted = []
    for buffer, kind in zip(buffers, kinds, strict=True):
        size = buffer.nbytes // count
        wanted.append(files[kind][1][start * size : (start + count) * size])
        buffer[:] = wanted[-1]
    expected = outcome_of(call, output, buffers, start)
    call, output, buffers, kinds = prepared(count, reads_blocks=reads_blocks)
    places = []
    for number, kind in enumerate(kinds):
        if in_file >> number & 1:
            position = MARGIN_BYTES + start * DTYPES[kind].bits // 8
            places.append((os.open(files[kind][0], os.O_RDONLY), position))
        else:
            places.append(None)
            buffers[number] = wanted[number]
    try:
        assert outcome_of(call, output, buffers, start, places) == expected
    finally:
        for place in filter(None, places):
            os.close(place[0])


@pytest.mark.parametrize("load", [0, 1])
@pytest.mark.parametrize("left", [0, BLOCK_ELEMENTS, 2 * BLOCK_ELEMENTS + 5])
def test_a_file_that_ends_early_is_told_by_the_number_of_the_load(files, tmp_path, load, left):
    call, output, buffers, kinds = prepared(ELEMENTS, reads_blocks=True)
    places = []
    for number, kind in enumerate(kinds):
        path = tmp_path / str(number)
        path.write_bytes(files[kind][0].read_bytes())
        if number == load:
            os.truncate(path, MARGIN_BYTES + left * DTYPES[kind].bits // 8)
        places.append((os.open(path, os.O_RDONLY), MARGIN_BYTES))
    try:
        assert call(buffers, 0, places, output).unread == load
    finally:
        for descriptor, _ in places:
            os.close(descriptor)


def test_a_file_that_cannot_be_read_is_told_by_the_number_of_the_load(files, tmp_path):
    call, output, buffers, kinds = prepared(ELEMENTS, reads_blocks=True)
    readable = os.open(files[kinds[0]][0], os.O_RDONLY)
    unreadable = os.open(tmp_path / "written", os.O_WRONLY | os.O_CREAT)
    try:
        places = [(readable, MARGIN_BYTES), (unreadable, MARGIN_BYTES)]
        assert call(buffers, 0, places, output).unread == 1
    finally:
        os.close(readable)
        os.close(unreadable)


@pytest.mark.parametrize("looks", [True, False])
def test_nan_in_a_load_is_looked_for_where_it_is_asked_for(files, looks):
    count = BLOCK_ELEMENTS + 5
    call, output, buffers, kinds = prepared(count, reads_blocks=False, looks=looks)
    for buffer, kind in zip(buffers, kinds, strict=True):
        buffer[:] = files[kind][1][: buffer.nbytes]
    wide = kinds.index(DTYPES.index(DType.F32))
    buffers[wide].view(np.float32)[-1] = np.nan
    outcome = call(buffers, 0, output=output)
    assert outcome.not_finite == ((wide,) if looks else ())
    assert not outcome.is_finite
    assert np.isnan(output.view(np.float32)[-1])
