"""Small outputs to draw: names, specs, contents, and the pieces in which they are written."""

import numpy as np
from hypothesis import strategies as st

from graphmerge.spec import DType, TensorSpec

DTYPES = (DType.BF16, DType.F16, DType.F32, DType.F64, DType.I64, DType.U8, DType.F8_E4M3)
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)
SPECS = st.builds(TensorSpec, SHAPES, st.sampled_from(DTYPES))
NAMES = st.one_of(
    st.text(min_size=1, max_size=8), st.from_regex(r"layers\.\d\.[a-z]+", fullmatch=True)
)
# `__metadata__` is the format's own key, and surrogates are no text in UTF-8.
TENSORS = st.dictionaries(
    NAMES.filter(lambda name: name != "__metadata__" and name.isprintable()), SPECS, max_size=12
).map(lambda specs: list(specs.items()))


def content(spec: TensorSpec, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, spec.nbytes, dtype=np.uint8)


def pieces(size_bytes: int, step_bytes: int) -> list[tuple[int, int]]:
    return [
        (start, min(start + step_bytes, size_bytes)) for start in range(0, size_bytes, step_bytes)
    ]
