"""Casts round once, to nearest even: also from float64 to 16 bits, where float32 is in the way."""

import struct
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphmerge.kernels import Tile, kernel
from graphmerge.kernels.dtypes import TORCH_DTYPES
from graphmerge.ops.arithmetic import Cast
from graphmerge.spec import DType

FRACTION_BITS = {DType.BF16: 7, DType.F16: 10, DType.F32: 23}
LEAST_EXPONENT = {DType.BF16: -126, DType.F16: -14, DType.F32: -126}
MOST_EXPONENT = {DType.BF16: 127, DType.F16: 15, DType.F32: 127}


def cast(values, dtype):
    x = torch.tensor(values, dtype=torch.float64)
    output = torch.empty(len(values), dtype=TORCH_DTYPES[dtype])
    kernel(Cast(dtype))(Cast(dtype), Tile([x], [], output, [], 0, (len(x),)))
    return output.double().tolist()


def rounded(value, dtype):
    """The nearest number of the dtype, ties to the even one, by exact arithmetic."""
    if value == 0 or value != value or abs(value) == float("inf"):
        return value
    exact = abs(Fraction(value))
    exponent = LEAST_EXPONENT[dtype]
    while exact >= Fraction(2) ** (exponent + 1):
        exponent += 1
    step = Fraction(2) ** (exponent - FRACTION_BITS[dtype])
    nearest = round(exact / step) * step  # Python rounds fractions half to even
    if nearest >= Fraction(2) ** (MOST_EXPONENT[dtype] + 1):
        return float("inf") if value > 0 else -float("inf")
    return float(nearest) if value > 0 else -float(nearest)


def same(first, second):
    return (
        struct.pack("<d", first) == struct.pack("<d", second)
        or (first != first) is (second != second) is True
    )


@pytest.mark.parametrize("dtype", FRACTION_BITS, ids=lambda dtype: dtype.value)
@settings(deadline=None, max_examples=500)
@given(value=st.floats(width=64))
@example(value=2.0**-25)
@example(value=2.0**-134)
@example(value=65519.999999999)
@example(value=65520.0)
@example(value=3.3961775292304601e38)
@example(value=1e-320)
@example(value=-1e-300)
def test_any_float64_is_rounded_once(dtype, value):
    (found,) = cast([value], dtype)
    assert same(found, rounded(value, dtype)), value.hex()


@pytest.mark.parametrize("dtype", [DType.BF16, DType.F16], ids=lambda dtype: dtype.value)
def test_what_lies_next_to_a_tie_falls_to_its_side(dtype):
    """Halfway points of the dtype, moved by so little that float32 would round back onto them."""
    generator = np.random.default_rng(0)
    stored = torch.from_numpy(generator.integers(0, 0x7BFF, 4000).astype(np.int16))
    low = stored.view(TORCH_DTYPES[dtype]).double()
    high = (stored + 1).view(TORCH_DTYPES[dtype]).double()
    low, high = low[high.isfinite()], high[high.isfinite()]
    tie = (low + high) / 2
    for moved, wanted in (
        (torch.nextafter(tie, low), low),
        (torch.nextafter(tie, high), high),
        (tie * (1 - 2.0**-40), low),
        (tie * (1 + 2.0**-40), high),
    ):
        assert cast(moved.tolist(), dtype) == wanted.tolist()
        assert cast((-moved).tolist(), dtype) == (-wanted).tolist()
    even = torch.where(stored[: len(low)] % 2 == 0, low, high)
    assert cast(tie.tolist(), dtype) == even.tolist()


@pytest.mark.parametrize("dtype", [DType.BF16, DType.F16], ids=lambda dtype: dtype.value)
def test_every_16_bit_number_survives_a_cast_up_and_down(dtype):
    stored = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(TORCH_DTYPES[dtype])
    finite = stored[~stored.isnan()]
    for wide in (torch.float32, torch.float64):
        output = torch.empty_like(finite)
        kernel(Cast(dtype))(Cast(dtype), Tile([finite.to(wide)], [], output, [], 0, (len(finite),)))
        assert torch.equal(output.view(torch.int16), finite.view(torch.int16))


def test_nan_stays_nan():
    for dtype in FRACTION_BITS:
        (found,) = cast([float("nan")], dtype)
        assert found != found
