"""What goes through whole rows reads its inputs block by block: the same as from memory."""

import os

import numpy as np
import pytest
from attrs import evolve
from guarded_memory import GUARD, aligned

from graphmerge.graph import make_node
from graphmerge.kernels.ranked import ranked_mask
from graphmerge.native import DivergentRows, PreparedCall, Ranking, arguments_of, function_for
from graphmerge.ops.arithmetic import Cast, TaskVector
from graphmerge.ops.importance import divergence_bytes
from graphmerge.ops.ranked import MASK_PADDING_BYTES, RankedMask, padded, ranking_bytes
from graphmerge.ops.sparsify import MaskKey
from graphmerge.schedule.fusion import fused_layout
from graphmerge.schedule.program import compile_program
from graphmerge.schedule.staging import Stage
from graphmerge.spec import DType
from graphmerge.testing.drawn_graphs import stored

MARGIN_BYTES = 20
"""What stands before the tensor in its file."""
ROWS = [(64, 2048), (40, 5632), (700, 513), (70_000, 2), (1, 150_000)]


@pytest.fixture
def files(tmp_path):
    """Writes arrays to files; their descriptors, which are closed after the test."""
    descriptors = []

    def write(*arrays):
        for array in arrays:
            path = tmp_path / str(len(descriptors))
            path.write_bytes(b"x" * MARGIN_BYTES + array.tobytes())
            descriptors.append(os.open(path, os.O_RDONLY))
        return descriptors[-len(arrays) :]

    yield write
    for descriptor in descriptors:
        os.close(descriptor)


def of_bfloat16(shape, seed):
    """Numbers, and their bits as they are stored."""
    drawn = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    bits = (drawn.view(np.uint32) >> 16).astype(np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32), bits


def mask_call(shape, start, in_blocks):
    """A function that makes the mask of a task vector, with room; its guards, and what it makes."""
    elements = shape[0] * shape[1]
    loads = [make_node(Cast(DType.F32), stored(name, shape, DType.BF16)) for name in "ab"]
    delta = make_node(TaskVector(), *loads)
    op = RankedMask(0.5, 0.2, MaskKey(5, "model", "tensor"))
    program = compile_program((), delta)
    program = evolve(program, fused=(layout := fused_layout(program)))
    block = Stage(make_node(op, delta), (program,)).block_elements(elements)
    assert block == elements or (block % shape[1] == 0 and block % 1024 == 0)
    sizes = [4 * block, block + MASK_PADDING_BYTES, ranking_bytes(shape[1], block)]
    parts = [aligned(padded(size)) for size in (layout.scratch_bytes, *sizes, elements)]
    (scratch, values, mask, memory, out), after = zip(*parts, strict=True)
    ranking = Ranking(memory, block)
    ranking.give(op, shape[1])
    given = arguments_of(program, {})
    function = function_for(program, given, ranks=True)
    arrays = (values, mask, *ranking.arrays)
    call = PreparedCall(function, layout, given, scratch, scratch[:0], elements, 1, arrays)
    names = [load.op.entry.name for load in program.loads]
    held = block if in_blocks else elements
    buffers = [np.zeros(2 * held, np.uint8) for _ in names]
    out[elements:] = GUARD

    def made(contents, places):
        for buffer, name in zip(buffers, names, strict=True):
            if name in contents:
                buffer[:] = contents[name].view(np.uint8).ravel()
        outcome = call(buffers, start, [places.get(name) for name in names], out[:elements])
        assert all((guard == GUARD).all() for guard in (*after, out[elements:]))
        return out[:elements].astype(bool), [names[i] for i in outcome.not_finite], outcome

    return op, made


@pytest.mark.parametrize("shape", ROWS, ids=str)
@pytest.mark.parametrize("in_file", ["", "a", "b", "ab"])
def test_masks_are_those_of_a_sort(files, shape, in_file):
    start = 65536 * 3
    (a, a_bits), (b, b_bits) = (of_bfloat16(shape, seed) for seed in range(2))
    stored_bits = {"a": a_bits, "b": b_bits}
    op, made = mask_call(shape, start, in_blocks=in_file == "ab")
    contents = {name: bits for name, bits in stored_bits.items() if name not in in_file}
    descriptors = files(a_bits, b_bits)
    places = {name: (descriptors["ab".index(name)], MARGIN_BYTES) for name in in_file}
    mask, bad, _ = made(contents, places)
    wanted = ranked_mask(op, (a - b).view(np.int32) & 0x7FFFFFFF, start)
    assert np.array_equal(mask, wanted)
    assert 0.4 < mask.mean() < 0.6
    assert not bad


def test_of_masks_nan_is_told_by_the_load_and_a_short_file_too(files):
    shape = (64, 2048)
    (_, a_bits), (_, b_bits) = (of_bfloat16(shape, seed) for seed in range(2))
    b_bits[-1, -1] = 0x7FC0
    _, made = mask_call(shape, 0, in_blocks=False)
    assert made({"a": a_bits, "b": b_bits}, {})[1] == ["b"]
    _, made = mask_call(shape, 0, in_blocks=True)
    descriptors = files(a_bits, b_bits.ravel()[:-1])
    places = {name: (one, MARGIN_BYTES) for name, one in zip("ab", descriptors, strict=True)}
    unread = made({}, places)[2].unread
    assert unread is not None
    descriptors = files(a_bits, b_bits)
    places = {name: (one, MARGIN_BYTES) for name, one in zip("ab", descriptors, strict=True)}
    assert made({}, places)[2].unread is None


def divergent(shape, rows_at_once):
    memory, _ = aligned(divergence_bytes(shape[1]))
    dtypes = (DType.BF16, DType.BF16)
    results = np.zeros(16 * shape[0], np.uint8)
    return DivergentRows(dtypes, shape[1], results, memory, rows_at_once=rows_at_once, single=True)


@pytest.mark.parametrize("rows_at_once", [1, 7, 64])
@pytest.mark.parametrize("in_blocks", [True, False])
def test_divergences_are_those_of_what_is_in_memory(files, rows_at_once, in_blocks):
    shape = (64, 300)
    pair = [of_bfloat16(shape, seed)[1] for seed in range(2)]
    held = [bits.view(np.uint8).ravel() for bits in pair]
    wanted = divergent(shape, 64)(held, 0).partials[0].copy()
    room = (rows_at_once if in_blocks else shape[0]) * shape[1] * 2
    buffers = [np.zeros(room, np.uint8) for _ in pair]
    places = [(descriptor, MARGIN_BYTES) for descriptor in files(*pair)]
    outcome = divergent(shape, rows_at_once)(buffers, 0, places)
    assert outcome.partials[0].tobytes() == wanted.tobytes()
    if not in_blocks:
        assert all(map(np.array_equal, buffers, held))
    buffers[0] = held[0]
    outcome = divergent(shape, rows_at_once)(buffers, 0, [None, places[1]])
    assert outcome.partials[0].tobytes() == wanted.tobytes()


@pytest.mark.parametrize("short", [0, 1])
def test_of_divergences_a_short_file_is_told(files, short):
    shape = (64, 300)
    pair = [of_bfloat16(shape, seed)[1] for seed in range(2)]
    pair[short] = pair[short].ravel()[:-1]
    places = [(descriptor, MARGIN_BYTES) for descriptor in files(*pair)]
    buffers = [np.zeros(10 * shape[1] * 2, np.uint8) for _ in pair]
    assert divergent(shape, 10)(buffers, 0, places).unread == short
