"""Dtypes of the format as torch knows them."""

from __future__ import annotations

import torch

from graphmerge.spec import DType

TORCH_DTYPES = {
    DType.BOOL: torch.bool,
    DType.U8: torch.uint8,
    DType.I8: torch.int8,
    DType.I16: torch.int16,
    DType.U16: torch.uint16,
    DType.I32: torch.int32,
    DType.U32: torch.uint32,
    DType.I64: torch.int64,
    DType.U64: torch.uint64,
    DType.F16: torch.float16,
    DType.BF16: torch.bfloat16,
    DType.F32: torch.float32,
    DType.F64: torch.float64,
}
"""Dtypes that registers can have; tensors of any other dtype are only copied, as bytes."""
