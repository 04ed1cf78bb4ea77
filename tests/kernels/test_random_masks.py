"""Random masks depend on the key and the flat index only, and are as random as they should be."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmerge.kernels.random_drop import keep_mask
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.sparsify import MaskKey

KEY = MaskKey(1, "model", "tensor")
MANY = 1 << 21


def deviations(count, of, probability):
    """By how many standard deviations a binomial count is off."""
    return abs(count - of * probability) / math.sqrt(of * probability * (1 - probability))


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 40),
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.sampled_from((0.1, 0.5, 1 / 3, 0.99)),
)
def test_a_part_of_a_mask_is_the_mask_of_the_part(steps, count, more, density):
    """keep_mask(start, n) = keep_mask(0, start + n + more)[start : start + n]"""
    start = 8 * steps
    whole = keep_mask(KEY, density, 0, start + count + more)
    part = keep_mask(KEY, density, start, count)
    assert np.array_equal(part, whole[start : start + count])


def test_masks_of_tiles_make_up_the_mask_of_the_tensor():
    count = 5 * BLOCK_ELEMENTS + 3
    whole = keep_mask(KEY, 0.37, 0, count)
    for tile in (BLOCK_ELEMENTS, 2 * BLOCK_ELEMENTS, 4 * BLOCK_ELEMENTS):
        parts = [
            keep_mask(KEY, 0.37, start, min(tile, count - start)) for start in range(0, count, tile)
        ]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("density", [0.001, 0.1, 0.25, 1 / 3, 0.5, 0.9, 0.999, 1e-5, 1 - 1e-5])
def test_the_density_is_right_within_five_sigma(density):
    """Also where it is no multiple of 1/256, so that the second draw decides."""
    kept = np.count_nonzero(keep_mask(KEY, density, 0, MANY))
    assert deviations(kept, MANY, density) < 5


@pytest.mark.parametrize("density", [0.3, 0.5, 0.9])
def test_every_position_in_a_few_words_is_alike(density):
    """Chi-square over the 32 bytes of four words: 31 degrees of freedom."""
    mask = keep_mask(KEY, density, 0, MANY).reshape(-1, 32)
    kept, of = mask.sum(axis=0), len(mask)
    statistic = sum((kept - of * density) ** 2) / (of * density * (1 - density))
    assert 8 < statistic < 75  # 1e-5 quantiles of chi-square(31) are about 7.6 and 75


@pytest.mark.parametrize(
    "other",
    [
        MaskKey(2, "model", "tensor"),
        MaskKey(1, "model#2", "tensor"),
        MaskKey(1, "model", "tensor2"),
        MaskKey(1, "mode", "ltensor"),
    ],
    ids=str,
)
@pytest.mark.parametrize("density", [0.5, 0.3])
def test_masks_of_different_keys_are_independent(other, density):
    first, second = (keep_mask(key, density, 0, MANY) for key in (KEY, other))
    assert deviations(np.count_nonzero(first & second), MANY, density**2) < 5


@pytest.mark.parametrize("lag", [1, 2, 8, 31, 32, 33, 65536])
def test_neighbours_are_independent(lag):
    mask = keep_mask(KEY, 0.5, 0, MANY)
    both = np.count_nonzero(mask[lag:] & mask[:-lag])
    assert deviations(both, MANY - lag, 0.25) < 6  # the pairs overlap, so a little more than 5


def test_masks_of_rising_density_are_nested():
    """What is kept at a density is kept at every higher one: the draw is the same."""
    masks = [keep_mask(KEY, density, 0, 100_000) for density in (0.1, 0.1001, 0.3, 0.5, 0.9)]
    for sparse, dense in itertools.pairwise(masks):
        assert not (sparse & ~dense).any()


@pytest.mark.parametrize(("density", "kept"), [(0.0, 0), (1.0, 1000), (1e-30, 0)])
def test_densities_at_the_ends(density, kept):
    assert np.count_nonzero(keep_mask(KEY, density, 0, 1000)) == kept


def test_masks_are_what_they_were():
    """A change of masks is a change of numerics: raise NUMERICS_VERSION and this."""
    mask = keep_mask(MaskKey(42, "org/model", "model.layers.0.mlp.up_proj.weight"), 0.3, 64, 64)
    assert np.packbits(mask).tobytes().hex() == "8a220c4605904111"
