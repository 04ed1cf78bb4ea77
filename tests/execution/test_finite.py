"""NaN and infinity are seen wherever they are, and nothing else is taken for them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphmerge.execution.finite import is_finite
from graphmerge.spec import DType

INTEGERS = {DType.F16: np.int16, DType.BF16: np.int16, DType.F32: np.int32, DType.F64: np.int64}
FLOATS = {
    DType.F16: torch.float16,
    DType.BF16: torch.bfloat16,
    DType.F32: torch.float32,
    DType.F64: torch.float64,
}


def by_torch(words, dtype):
    return torch.isfinite(torch.from_numpy(words).view(FLOATS[dtype])).numpy()


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16])
def test_every_number_of_16_bits(dtype):
    words = np.arange(2**16, dtype=np.uint16).view(np.int16)
    found = [is_finite(word.view(np.uint8), dtype) for word in words.reshape(-1, 1)]
    assert found == by_torch(words, dtype).tolist()


@given(st.sampled_from(sorted(FLOATS, key=str)), st.data())
def test_among_other_numbers(dtype, data):
    bits = dtype.bits
    infinity = (
        int(
            torch.tensor(np.inf, dtype=FLOATS[dtype])
            .view(-1)
            .numpy(force=True)
            .view(INTEGERS[dtype])[0]
        )
        if dtype is not DType.BF16
        else 0x7F80
    )
    edges = [0, infinity - 1, infinity, infinity + 1, 2 ** (bits - 1) - 1]
    edges += [edge - 2 ** (bits - 1) for edge in edges]
    any_word = st.sampled_from(edges) | st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    words = np.array(data.draw(st.lists(any_word, max_size=5)), dtype=INTEGERS[dtype])
    assert is_finite(words.view(np.uint8), dtype) == bool(by_torch(words, dtype).all())
