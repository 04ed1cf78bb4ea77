"""Native code for fused regions: every op of a pass in one loop, compiled by LLVM when needed.

The same results as the torch kernels, bit for bit (NaN payloads aside), without torch.
"""

from graphmerge.native.functions import FilePlace, PreparedCall, arguments_of, function_for
from graphmerge.native.rows import DivergentRows, RankedRows, Ranking

__all__ = [
    "DivergentRows",
    "FilePlace",
    "PreparedCall",
    "RankedRows",
    "Ranking",
    "arguments_of",
    "function_for",
]
