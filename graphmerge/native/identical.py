"""Native code of the check that tensors are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Lowering, register_lowering
from graphmerge.ops.sources import RequireIdentical

if TYPE_CHECKING:
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode


def _require_identical(op: RequireIdentical, code: VectorCode) -> Value:
    """The first input; the instruction fails where another one has other bits."""
    first = code.bits(code.inputs[0], code.dtypes[0])
    for other in code.inputs[1:]:
        differs = code.builder.icmp_unsigned("!=", first, code.bits(other, code.dtypes[0]))
        code.fail_if_any(differs)
    return code.inputs[0]


register_lowering(RequireIdentical, Lowering(_require_identical))
