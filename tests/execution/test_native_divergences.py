"""Divergences of rows: native code and numpy give the same bits, which are right."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from guarded_memory import GUARD, aligned
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmerge.kernels import divergences as numpy_divergences
from graphmerge.kernels.divergences import divergences
from graphmerge.native import DivergentRows
from graphmerge.native.functions import once
from graphmerge.ops.importance import divergence_bytes
from graphmerge.spec import DType

ROWS = [1, 2, 7, 15, 16, 17, 33, 255, 1000, 2048, 20_000]
STORED = {DType.F16: np.float16, DType.F32: np.float32, DType.F64: np.float64}


def stored(values, dtype):
    """The bytes of values in a dtype, and the values that they stand for."""
    if dtype is DType.BF16:
        bits = values.astype(np.float32).view(np.uint32) & 0xFFFF0000
        return (bits >> 16).astype(np.uint16).view(np.uint8).ravel(), bits.view(np.float32)
    held = np.ascontiguousarray(values, dtype=STORED[dtype])
    return held.view(np.uint8).ravel(), held


def native(first, second, dtypes):
    """Divergences by native code, those of numpy, and in which input something is not finite."""
    pairs = [stored(x, dtype) for x, dtype in zip((first, second), dtypes, strict=True)]
    rows, row = first.shape
    memory, after = aligned(divergence_bytes(row))
    results = np.zeros(16 * rows, np.uint8)
    call = DivergentRows(dtypes, row, results, memory, rows_at_once=3)
    outcome = call([pair[0] for pair in pairs], 7 * row)
    partial = outcome.partials[0]
    assert (after == GUARD).all()
    assert partial[:, 0].tolist() == list(range(7, 7 + rows))
    return partial[:, 1], divergences(pairs[0][1], pairs[1][1]), outcome.not_finite


def same_bits(a, b):
    """NaN apart, whose payload is free."""
    nan = np.isnan(a)
    return np.array_equal(nan, np.isnan(b)) and a[~nan].tobytes() == b[~nan].tobytes()


def drawn(kind, rows, row):
    """Two tensors."""
    rng = np.random.default_rng(row)
    base, change = rng.normal(size=(2, rows, row)) * [[[0.02]], [[0.001]]]
    spread = np.where(rng.random((rows, row)) < 0.3, -np.inf, base * 1e4)
    spread[:, 0] = 1.0
    return {
        "of a fine-tune": (base + change, base),
        "equal": (base, base),
        "far apart": (base * 1e3, change * 1e6),
        "huge": (base * 1e306, -base * 1e306),
        "tiny": (base * 1e-300, change * 1e-306),
        "minus infinity in some": (spread, np.where(np.isinf(spread), 0.5, spread)),
        "minus infinity in all": (base, np.full_like(base, -np.inf)),
    }[kind]


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(
    "kind",
    [
        *("of a fine-tune", "equal", "far apart", "huge", "tiny"),
        *("minus infinity in some", "minus infinity in all"),
    ],
)
def test_native_code_and_numpy_give_the_same_bits(kind, row):
    first, second = drawn(kind, max(2, 5000 // row), row)
    found, wanted, _ = native(first, second, (DType.F64, DType.F64))
    assert same_bits(found, wanted)
    assert np.isnan(found).all() == (kind == "minus infinity in all")
    assert not (found < 0).any()
    if kind in ("equal", "of a fine-tune"):
        assert (found == 0).all() == (kind == "equal" or row == 1)


@pytest.mark.parametrize("first", [DType.BF16, DType.F16, DType.F32, DType.F64])
@pytest.mark.parametrize("second", [DType.BF16, DType.F16, DType.F32, DType.F64])
@pytest.mark.parametrize("row", [5, 64, 1001])
def test_values_are_taken_as_they_are_stored(first, second, row):
    tuned, base = drawn("of a fine-tune", 20, row)
    found, wanted, seen = native(tuned, base, (first, second))
    assert same_bits(found, wanted)
    assert seen == ()


@pytest.mark.parametrize("place", [0, 15, 16, 31, 36])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [DType.BF16, DType.F16, DType.F32, DType.F64])
def test_what_is_not_finite_is_seen_where_it_is(place, value, dtype):
    """In the second row of the second input; only NaN and +infinity make the divergence NaN."""
    tuned, base = drawn("of a fine-tune", 3, 37)
    base[1, place] = value
    found, wanted, seen = native(tuned, base, (dtype, dtype))
    assert same_bits(found, wanted)
    assert seen == (1,)
    assert np.isnan(found).tolist() == [False, not value < 0, False]


@pytest.mark.parametrize("group", [1, 100, 10_000])
def test_groups_of_rows_change_nothing(group, monkeypatch):
    tuned, base = drawn("of a fine-tune", 40, 37)
    wanted = divergences(tuned, base)
    monkeypatch.setattr(numpy_divergences, "GROUP_ELEMENTS", group)
    assert same_bits(divergences(tuned, base), wanted)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_rows_give_the_same_bits_however_they_are_cut(data):
    """divergences(rows) = divergences(a part of them) followed by divergences(the rest)"""
    rows, row = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 40))
    numbers = st.floats(width=32, allow_nan=True, allow_infinity=True)
    drawn = st.lists(numbers, min_size=rows * row, max_size=rows * row)
    first, second = (np.array(data.draw(drawn), np.float32).reshape(rows, row) for _ in range(2))
    found, wanted, _ = native(first, second, (DType.F32, DType.F32))
    assert same_bits(found, wanted)
    cut = data.draw(st.integers(0, rows))
    parts = [divergences(first[part], second[part]) for part in (slice(cut), slice(cut, None))]
    assert same_bits(np.concatenate(parts), wanted)


@pytest.mark.parametrize("change", [1.0, 1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("row", [100, 2048])
def test_divergences_are_right_however_small_the_change(change, row):
    """Straight from the formula, in more digits than float64 has."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(8, row))
    tuned = base + change * rng.normal(size=(8, row))
    softmax = []
    for x in (tuned.astype(np.longdouble), base.astype(np.longdouble)):
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        softmax.append(powers / powers.sum(axis=1, keepdims=True) + np.longdouble(1e-8))
    p, q = softmax
    wanted = (p * np.log(p / q) - (p - q)).sum(axis=1).astype(np.float64)
    found = divergences(tuned, base)
    tolerance = 1e-14 * (1 + 5 / change)  # the plain formula in float64: 1e-15 / change**2
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=0)


def test_code_is_made_once_however_many_threads_ask_for_it():
    made, together = [], threading.Barrier(2)

    @once
    def make(dtype):
        made.append(dtype)
        threading.Event().wait(0.05)
        return len(made)

    def ask(dtype):
        together.wait()
        return make(dtype)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(ask, ["F32", "F32"])) == [1, 1]
        assert sorted(threads.map(ask, ["F32", "F64"])) == [1, 2]
    assert made == ["F32", "F64"]
