"""What the kernel of masks by rank allocates is what its op declares, for short rows and long."""

import pytest
import torch
from test_workspace_of_importance import ELEMENTS, allocated

from graphmerge.kernels.dtypes import TORCH_DTYPES
from graphmerge.kernels.magnitude import magnitude_bits
from graphmerge.kernels.ranked import ranked_mask
from graphmerge.ops.ranked import RankedMask
from graphmerge.ops.sparsify import BITS_DTYPE, MaskKey
from graphmerge.spec import DType, TensorSpec


@pytest.mark.parametrize("row", [1, 2, 64, 2048, ELEMENTS])
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
def test_ranks_take_what_is_declared(dtype, row):
    x = torch.linspace(-1, 1, ELEMENTS, dtype=TORCH_DTYPES[dtype])
    bits = magnitude_bits(x, out=torch.empty(ELEMENTS, dtype=TORCH_DTYPES[BITS_DTYPE[dtype]]))
    op = RankedMask(0.5, 0.1, MaskKey(0, "model", "tensor"))
    needs = op.workspace((TensorSpec((ELEMENTS // row, row), dtype),))
    taken = allocated(lambda: ranked_mask(op, bits.numpy().reshape(-1, row), 0))
    assert 0.5 * needs.at(ELEMENTS) - needs.fixed_bytes <= taken <= needs.at(ELEMENTS)
