"""Native code of sums over numerics blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.registry import Lowering, register_lowering
from graphmerge.ops.rescale import AbsoluteSum
from graphmerge.ops.spherical import Gram
from graphmerge.statistics.sums import pairs

if TYPE_CHECKING:
    from graphmerge.native.vector_code import VectorCode


def _absolute_sum(op: AbsoluteSum, code: VectorCode) -> None:
    code.accumulate(0, code.to_double(code.absolute(code.inputs[0])))


def _gram(op: Gram, code: VectorCode) -> None:
    wide = [code.to_double(x) for x in code.inputs]
    for column, (i, j) in enumerate(pairs(len(wide))):
        code.accumulate(column, code.builder.fmul(wide[i], wide[j]))


register_lowering(AbsoluteSum, Lowering(_absolute_sum))
register_lowering(Gram, Lowering(_gram))
