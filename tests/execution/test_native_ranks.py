"""Masks of rows by rank: native code against the sort by numpy, for rows that take each way."""

import numpy as np
import pytest
from guarded_memory import GUARD, aligned

from graphmerge.kernels.ranked import ranked_mask
from graphmerge.native import RankedRows
from graphmerge.ops.ranked import MASK_PADDING_BYTES, RankedMask, ranking_bytes
from graphmerge.ops.sparsify import MaskKey

START = 65536 * 7
KINDS = (
    *("normal", "of bfloat16", "equal", "zero", "few are not zero", "narrow"),
    *("any bits", "half have all bits"),
)


def bits_of(kind, rows, row):
    """Bits of float32 values."""
    rng = np.random.default_rng(row)
    drawn = rng.normal(size=(rows, row)).astype(np.float32)
    values = {
        "normal": drawn * 1e-3,
        "of bfloat16": (drawn.view(np.uint32) & 0xFFFF0000).view(np.float32),
        "equal": np.full_like(drawn, -1.5),
        "zero": drawn * 0,
        "few are not zero": np.where(rng.random(drawn.shape) < 0.95, 0, drawn),
        "narrow": 1 + np.abs(drawn) * 0.003,
        "any bits": rng.integers(0, 2**32, drawn.shape, dtype=np.uint32).view(np.float32),
        "half have all bits": np.where(
            drawn < 0, 2**31 - 1, 2**31 - rng.integers(1, 2**20, drawn.shape)
        ).astype(np.uint32),
    }
    return values[kind].view(np.int32)


@pytest.mark.parametrize("row", [1, 2, 7, 63, 64, 65, 255, 1000, 2048, 5632, 70_000])
@pytest.mark.parametrize("kind", KINDS)
def test_ranks_are_those_of_a_sort(kind, row):
    rows = max(1, 50_000 // row)
    bits = bits_of(kind, rows, row)
    for density, epsilon in ((0.5, 0.15), (0.5, 0.499), (0.3, 0.0)):
        op = RankedMask(density, epsilon, MaskKey(5, "model", "tensor"))
        scratch, after_scratch = aligned(ranking_bytes(row, bits.size))
        mask, after_mask = aligned(bits.size + MASK_PADDING_BYTES)
        ranked = RankedRows(scratch, bits.size)
        ranked.give(op, row)
        ranked(bits.view(np.uint8).reshape(-1), mask, START)
        wanted = ranked_mask(op, bits & 0x7FFFFFFF, START)
        assert np.array_equal(mask[: bits.size].astype(bool), wanted)
        assert (after_scratch == GUARD).all()
        assert (after_mask == GUARD).all()


def test_a_negative_epsilon_has_no_native_code_and_keeps_small_entries_more_often():
    bits = np.random.default_rng(0).permutation(65536).astype(np.int32).reshape(64, 1024)
    key = MaskKey(5, "model", "tensor")
    kept = ranked_mask(RankedMask(0.5, -0.4, key), bits, 0).reshape(bits.shape)
    ranks = bits.argsort(axis=1).argsort(axis=1)
    assert kept[ranks < 256].mean() > 0.7
    assert kept[ranks >= 768].mean() < 0.3
