"""Native code of parameters that compete: the torch kernels, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.native.elementary import exp, exp_less_one
from graphmerge.native.registry import Arguments, Lowering, register_lowering
from graphmerge.native.types import DOUBLE, convert, splat, spread
from graphmerge.ops.competition import CompetitionMean, CompetitionScore
from graphmerge.spec import DType
from graphmerge.statistics.competition import LEAST_DIVISOR, shares_of, strength_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.registry import Value
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic


def _score(op: CompetitionScore, code: VectorCode) -> Value:
    """-E / ((2 + E) exp(-n m^2)), E = exp(-2 max(d_i sum_j d_j, 0)) - 1."""
    builder = code.builder
    own, total, *others = map(code.to_double, code.inputs)
    for x in others:
        total = builder.fadd(total, x)
    agreement = code.at_least(splat(0.0, DOUBLE), builder.fmul(total, own))
    lost = exp_less_one(builder, builder.fmul(agreement, splat(-2.0, DOUBLE)))
    exponent = builder.fmul(_squared_strength(code, own), splat(-float(1 + len(others)), DOUBLE))
    divisor = builder.fmul(builder.fadd(lost, splat(2.0, DOUBLE)), exp(builder, exponent))
    score = builder.fdiv(builder.fneg(lost), divisor)
    return convert(builder, score, DType.F64, code.dtypes[0])


def _squared_strength(code: VectorCode, own: Value) -> Value:
    """m^2."""
    builder = code.builder
    numbers = [builder.bitcast(word, DOUBLE) for word in code.words]
    low, high, scale = (spread(builder, number) for number in numbers)
    size = code.at_least(low, code.absolute(own))
    size = code.choose(builder.fcmp_ordered(">", size, high), high, size)
    share = builder.fmul(builder.fsub(size, low), scale)
    return builder.fmul(share, share)


def _strength(op: CompetitionScore, statistics: Sequence[Statistic]) -> Arguments:
    """Float64 numbers by their bits: as numbers they would be rounded to the dtype of deltas."""
    return Arguments(words=tuple(np.array(strength_of(op, statistics[0])).view(np.uint64).tolist()))


def _mean(op: CompetitionMean, code: VectorCode) -> Value:
    """sum_i c_i d_i / max(sum_i c_i, 1e-12), c_i = (max(s_i, t_i) - t_i) / size_i."""
    builder, count = code.builder, len(code.inputs) // 2
    *limits, least_divisor = code.numbers
    total = merged = code.constant(0.0)
    for i, (delta, score) in enumerate(zip(code.inputs[:count], code.inputs[count:], strict=True)):
        least, size = limits[2 * i : 2 * i + 2]
        above = builder.fsub(code.at_least(least, score), least)
        share = builder.fdiv(above, size)
        total = builder.fadd(total, share)
        merged = builder.fadd(merged, builder.fmul(delta, share))
    return builder.fdiv(merged, code.at_least(least_divisor, total))


def _limits(op: CompetitionMean, statistics: Sequence[Statistic]) -> Arguments:
    pairs = shares_of(statistics[0])
    return Arguments((*(number for pair in pairs for number in pair), LEAST_DIVISOR))


register_lowering(CompetitionScore, Lowering(_score, arguments=_strength))
register_lowering(CompetitionMean, Lowering(_mean, arguments=_limits))
