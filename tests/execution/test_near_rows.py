"""Divergences of rows near each other: the same bits by native code and numpy, which are right."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from guarded_memory import GUARD, aligned
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmerge.kernels import divergences as numpy_divergences
from graphmerge.kernels.divergences import divergences, single_divergences
from graphmerge.native import DivergentRows
from graphmerge.ops.importance import divergence_bytes
from graphmerge.ops.near_rows import CHANGE, LARGEST
from graphmerge.spec import DType

ROWS = [1, 2, 15, 16, 17, 33, 255, 256, 257, 271, 272, 1000, 2048, 20_000]
STORED = {DType.F16: np.float16, DType.F32: np.float32}


def stored(values, dtype):
    """The bytes of values in a dtype, and the float32 that they stand for."""
    if dtype is DType.BF16:
        bits = values.astype(np.float32).view(np.uint32) & 0xFFFF0000
        return (bits >> 16).astype(np.uint16).view(np.uint8).ravel(), bits.view(np.float32)
    held = np.ascontiguousarray(values, dtype=STORED[dtype])
    return held.view(np.uint8).ravel(), held.astype(np.float32)


def native(first, second, dtypes=(DType.F32, DType.F32)):
    """Divergences by native code, those of numpy, and in which input something is not finite."""
    pairs = [stored(x, dtype) for x, dtype in zip((first, second), dtypes, strict=True)]
    rows, row = first.shape
    memory, after = aligned(divergence_bytes(row))
    results = np.zeros(16 * rows, np.uint8)
    call = DivergentRows(dtypes, row, results, memory, rows_at_once=2, single=True)
    outcome = call([pair[0] for pair in pairs], 0)
    partial = outcome.partials[0]
    assert (after == GUARD).all()
    return partial[:, 1], single_divergences(pairs[0][1], pairs[1][1]), outcome.not_finite


def same_bits(a, b):
    nan = np.isnan(a)
    return np.array_equal(nan, np.isnan(b)) and a[~nan].tobytes() == b[~nan].tobytes()


def formula(first, second):
    """Straight from the formula, of one row, in 50 digits."""
    with localcontext() as context:
        context.prec = 50
        softmax = []
        for x in (first, second):
            powers = [Decimal(float(entry)).exp() for entry in x]
            total = sum(powers)
            softmax.append([power / total + Decimal("1e-8") for power in powers])
        return float(sum(p * (p / q).ln() for p, q in zip(*softmax, strict=True)))


def near(rows, row, *, size=0.02, change=0.001):
    """A fine-tune and its base."""
    rng = np.random.default_rng(row)
    base = (size * rng.uniform(-1, 1, (rows, row))).astype(np.float32)
    return (base + change * rng.uniform(-0.99, 0.99, (rows, row))).astype(np.float32), base


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("first", [DType.BF16, DType.F16, DType.F32])
@pytest.mark.parametrize("second", [DType.BF16, DType.F16, DType.F32])
def test_native_code_and_numpy_give_the_same_bits(first, second, row):
    found, wanted, seen = native(*near(max(2, 5000 // row), row), (first, second))
    assert same_bits(found, wanted)
    assert not (found < 0).any()
    assert seen == ()


@pytest.mark.parametrize("size", [1e-3, 0.02, 1.0, 31.0])
@pytest.mark.parametrize("change", [CHANGE, 1e-2, 1e-4, 1e-5])
@pytest.mark.parametrize("row", [2, 3, 100])
def test_they_are_right_however_small_the_change(row, change, size):
    """The error's bound is that of `graphmerge.ops.near_rows`."""
    tuned, base = near(4, row, size=size, change=change)
    found = single_divergences(tuned, base)
    wanted = np.array([formula(*pair) for pair in zip(tuned, base, strict=True)])
    rounding = 2.5e-7 * np.abs(tuned.astype(np.float64) - base).max(axis=1)
    limit = 4e-7 * wanted + rounding * np.sqrt(2 * wanted) + rounding**2
    assert (np.abs(found - wanted) <= limit).all()
    assert not same_bits(found, divergences(tuned, base)), "else they were not taken as near"


@pytest.mark.parametrize("change", [CHANGE, 1e-2, 1e-4])
def test_those_of_long_rows_are_as_good_as_their_rounding(change):
    """To float32, by 6e-8, for which float64 is exact enough."""
    tuned, base = near(40, 5000, change=change)
    np.testing.assert_allclose(
        single_divergences(tuned, base), divergences(tuned, base), rtol=6e-8, atol=0
    )


def test_rows_that_are_equal_do_not_diverge():
    _, base = near(20, 300)
    found, wanted, _ = native(base, base)
    assert found.tolist() == wanted.tolist() == [0.0] * 20


@pytest.mark.parametrize("row", [1, 2, 16, 300, 5000])
def test_rows_whose_entries_all_change_alike_do_not_diverge(row):
    """Softmax does not see it; all are multiples of 2^-16 here, so that sums are exact."""
    _, base = near(200, row)
    base = np.round(base * 2**16) / np.float32(2**16)
    change = np.random.default_rng(0).integers(1, 2**13, (200, 1)) / 2**16
    found, wanted, _ = native((base + change).astype(np.float32), base)
    assert found.tolist() == wanted.tolist() == [0.0] * 200


def test_a_row_of_one_entry_does_not_diverge():
    found, wanted, _ = native(*near(5000, 1, size=1.0, change=0.1))
    assert found.tolist() == wanted.tolist() == [0.0] * 5000


@pytest.mark.parametrize("place", [0, 16, 299])
@pytest.mark.parametrize(
    ("base", "tuned", "is_near"),
    [
        (0.0, CHANGE, True),
        (0.0, -CHANGE, True),
        (0.0, np.nextafter(np.float32(CHANGE), 1), False),
        (-LARGEST, -LARGEST, True),
        (LARGEST, LARGEST, True),
        (np.nextafter(np.float32(LARGEST), 99), LARGEST, False),
        (np.nextafter(np.float32(-LARGEST), -99), -LARGEST, False),
        (1e30, 1e30, False),
        (-1e30, 0.0, False),
        (0.0, -1e30, False),
    ],
)
def test_rows_are_near_up_to_the_limits(base, tuned, is_near, place):
    """The others of a tile stay what they were."""
    first, second = near(9, 300)
    first[4, place], second[4, place] = tuned, base
    found, wanted, seen = native(first, second)
    assert same_bits(found, wanted)
    assert seen == ()
    other = divergences(first, second)
    assert (found == other).tolist() == [number == 4 and not is_near for number in range(9)]
    np.testing.assert_allclose(found, other, rtol=1e-6)


@pytest.mark.parametrize("place", [0, 15, 16, 36])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("dtype", [DType.BF16, DType.F16, DType.F32])
def test_what_is_not_finite_is_seen_where_it_is(place, value, which, dtype):
    pair = near(3, 37)
    pair[which][1, place] = value
    found, wanted, seen = native(*pair, (dtype, dtype))
    assert same_bits(found, wanted)
    assert seen == (which,)
    assert np.isnan(found).tolist() == [False, not value < 0, False]


@pytest.mark.parametrize("group", [1, 100, 10_000])
def test_groups_of_rows_change_nothing(group, monkeypatch):
    tuned, base = near(40, 37)
    tuned[::3] += 1
    wanted = single_divergences(tuned, base)
    monkeypatch.setattr(numpy_divergences, "GROUP_ELEMENTS", group)
    assert same_bits(single_divergences(tuned, base), wanted)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_rows_give_the_same_bits_however_they_are_cut(data):
    """divergences(rows) = divergences(a part of them) followed by divergences(the rest)"""
    rows, row = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 40))
    bound = data.draw(st.sampled_from([None, 1e-3, 0.07, 32.0, 33.0]))
    edge = None if bound is None else float(np.float32(bound))
    numbers = st.floats(None if edge is None else -edge, edge, width=32)
    drawn = st.lists(numbers, min_size=rows * row, max_size=rows * row)
    first, second = (np.array(data.draw(drawn), np.float32).reshape(rows, row) for _ in range(2))
    found, wanted, _ = native(first, second)
    assert same_bits(found, wanted)
    assert not (found < 0).any()
    cut = data.draw(st.integers(0, rows))
    parts = [single_divergences(first[p], second[p]) for p in (slice(cut), slice(cut, None))]
    assert same_bits(np.concatenate(parts), wanted)
