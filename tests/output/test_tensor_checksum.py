from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xxhash
from drawn_layouts import content
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmerge.output.checksums import CHECKSUM_BLOCK_ELEMENTS, TensorChecksum, checksum_of
from graphmerge.spec import DType, TensorSpec

BLOCK = CHECKSUM_BLOCK_ELEMENTS
BYTES = TensorSpec((5 * BLOCK + 7,), DType.U8)


def whole(spec, data):
    checksum = TensorChecksum(spec)
    checksum.update(0, data)
    return checksum.hexdigest()


def reference(data, block_bytes):
    """The formula, straight from the class's docstring."""
    blocks = [data[i : i + block_bytes] for i in range(0, len(data), block_bytes)]
    digests = (xxhash.xxh3_64_intdigest(b, seed=i) for i, b in enumerate(blocks))
    return xxhash.xxh3_64_hexdigest(b"".join(d.to_bytes(8, "little") for d in digests))


@pytest.mark.parametrize("dtype", [DType.U8, DType.BF16, DType.F64, DType.F4, DType.F6_E2M3])
@pytest.mark.parametrize("numel", [0, 8, BLOCK, BLOCK + 8, 3 * BLOCK])
def test_it_is_the_formula(dtype, numel):
    spec = TensorSpec((numel,), dtype)
    data = content(spec, numel)
    wanted = reference(data.tobytes(), BLOCK * dtype.bits // 8)
    assert whole(spec, data) == wanted
    assert checksum_of(memoryview(data.tobytes()), spec) == wanted


def test_value_is_frozen():
    """Manifests of old outputs must stay valid: this number may never change."""
    spec = TensorSpec((BLOCK + 1,), DType.U8)
    assert whole(spec, np.zeros(BLOCK + 1, dtype=np.uint8)) == "64b2b78bc46a96ff"


@settings(max_examples=50, deadline=None)  # loaded machines are slow
@given(
    dtype=st.sampled_from([DType.U8, DType.BF16]),
    numel=st.integers(0, 4 * BLOCK),
    blocks_per_tile=st.integers(1, 5),
    randomness=st.randoms(use_true_random=False),
)
def test_tiles_of_any_size_in_any_order_give_the_same_value(
    dtype, numel, blocks_per_tile, randomness
):
    spec = TensorSpec((numel,), dtype)
    data = content(spec, 0).view(np.uint8 if dtype is DType.U8 else np.uint16)
    starts = list(range(0, numel, blocks_per_tile * BLOCK))
    randomness.shuffle(starts)
    checksum = TensorChecksum(spec)
    for start in starts:
        checksum.update(start, data[start : start + blocks_per_tile * BLOCK])
    assert checksum.is_complete
    assert checksum.hexdigest() == whole(spec, data)


def test_threads_give_the_same_value():
    spec = TensorSpec((64 * BLOCK,), DType.U8)
    data = content(spec, 0)
    checksum = TensorChecksum(spec)
    with ThreadPoolExecutor(8) as workers:
        starts = range(0, spec.numel, BLOCK)
        list(workers.map(lambda start: checksum.update(start, data[start : start + BLOCK]), starts))
    assert checksum.hexdigest() == whole(spec, data)


@pytest.mark.parametrize("position", [0, BLOCK - 1, 3 * BLOCK, BYTES.numel - 1])
def test_one_flipped_bit_changes_it(position):
    data = content(BYTES, 0)
    before = whole(BYTES, data)
    data[position] ^= 1
    assert whole(BYTES, data) != before


def test_exchanged_blocks_change_it():
    data = content(BYTES, 0)
    before = whole(BYTES, data)
    data[:BLOCK], data[BLOCK : 2 * BLOCK] = data[BLOCK : 2 * BLOCK].copy(), data[:BLOCK].copy()
    assert whole(BYTES, data) != before


@pytest.mark.parametrize(
    ("start", "size"), [(1, BLOCK), (0, BLOCK - 1), (5 * BLOCK, 6), (5 * BLOCK, BLOCK)]
)
def test_pieces_of_blocks_are_refused(start, size):
    with pytest.raises(ValueError, match=r"are not whole blocks of 65536 elements"):
        TensorChecksum(BYTES).update(start, memoryview(bytes(size)))


def test_a_gap_is_found():
    checksum = TensorChecksum(BYTES)
    checksum.update(0, memoryview(bytes(2 * BLOCK)))
    checksum.update(3 * BLOCK, memoryview(bytes(2 * BLOCK + 7)))
    assert not checksum.is_complete
    with pytest.raises(ValueError, match=r"block 2 of .* was never given"):
        checksum.hexdigest()
