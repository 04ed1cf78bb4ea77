"""Native code of keeping what a mask of bytes says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Lowering, register_lowering
from graphmerge.native.types import INT8, splat
from graphmerge.ops.ranked import KeepMasked

if TYPE_CHECKING:
    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode


def _keep_masked(op: KeepMasked, code: VectorCode) -> Value:
    """x where the mask is set, else 0."""
    x, mask = code.inputs
    kept = code.builder.icmp_unsigned("!=", mask, splat(0, INT8))
    return code.choose(kept, x, code.constant(0.0))


register_lowering(KeepMasked, Lowering(_keep_masked))
