"""Checks that op definitions share, each with the error a user would want to read."""

from __future__ import annotations

import math

from graphmerge.errors import GraphError, Problem
from graphmerge.graph import Space
from graphmerge.spec import DType, TensorSpec

COMPUTE_DTYPES = (DType.F32, DType.F64)
"""Dtypes that arithmetic happens in; everything else is cast first."""
_CANCELLED = 1e-12
"""A sum of weights below this share of their sizes is zero but for rounding: 0.1 + 0.2 - 0.3."""

_LEAST = 2.0**-64
"""Weights may be so small, or its reciprocal large, without a thought for float32."""


def same_compute_spec(inputs: tuple[TensorSpec, ...]) -> TensorSpec:
    """The one spec of all inputs. Raises GraphError where they differ or are not for computing."""
    first = inputs[0]
    for spec in inputs[1:]:
        if spec.shape != first.shape:
            raise GraphError(
                Problem("shapes differ", got=str(list(spec.shape)), wanted=str(list(first.shape)))
            )
        if spec.dtype is not first.dtype:
            raise GraphError(
                Problem(
                    "dtypes differ",
                    got=spec.dtype.value,
                    wanted=first.dtype.value,
                    hint="cast first",
                )
            )
    if first.dtype not in COMPUTE_DTYPES:
        raise GraphError(
            Problem(
                "no arithmetic in this dtype",
                got=first.dtype.value,
                wanted="F32 or F64",
                hint="cast first",
            )
        )
    return first


def require_divisor(weights: tuple[float, ...], divisor: float, *, setting: str) -> None:
    """Raises GraphError where the divisor is zero, or what rounding leaves of zero."""
    if abs(divisor) <= _CANCELLED * sum(map(abs, weights)):
        what = "weights sum to zero, so they cannot be normalised"
        hint = f"set {setting}: false or other weights"
        raise GraphError(Problem(what, got=str(list(weights)), hint=hint))


def within_float32(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Weights times a power of two, where float32 would lose all of them or has no room for sums.

    For sums that are divided by the sum of the weights, which such a factor does not change.
    """
    largest = max(map(abs, weights), default=0.0)
    if largest == 0 or _LEAST <= largest <= 1 / _LEAST:
        return weights
    _, exponent = math.frexp(largest)
    return tuple(math.ldexp(weight, -exponent) for weight in weights)


def normalised(weights: tuple[float, ...], *, setting: str) -> tuple[float, ...]:
    """Weights over their sum. Raises GraphError, naming the setting, where that is zero."""
    total = sum(weights)
    require_divisor(weights, total, setting=setting)
    return tuple(weight / total for weight in weights)


def all_in(space: Space, inputs: tuple[Space, ...], why: str) -> Space:
    """`space` if every input is in it. Raises GraphError with the reason otherwise."""
    if any(value is not space for value in inputs):
        raise GraphError(
            Problem(
                why, got=", ".join(value.value for value in inputs), wanted=f"only {space.value}s"
            )
        )
    return space


def shared_space(inputs: tuple[Space, ...]) -> Space:
    """The one space of all inputs. Raises GraphError for a mixture or a statistic."""
    if len(set(inputs)) != 1 or inputs[0] is Space.STATISTIC:
        raise GraphError(
            Problem(
                "inputs of different spaces",
                got=", ".join(value.value for value in inputs),
                wanted="only weights or only deltas",
                hint="take task vectors against a base first, or apply a delta to one",
            )
        )
    return inputs[0]
