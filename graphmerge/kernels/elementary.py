"""exp, exp - 1 and log in numpy, as `graphmerge.ops.elementary` defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphmerge.ops.elementary import (
    EXP_COEFFICIENTS,
    EXPONENT_BIAS,
    EXPONENT_BITS,
    EXPONENT_SHIFT,
    LEAST_EXPONENT,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    LOG_COEFFICIENTS,
    RATIO_BITS,
    ROUNDING,
    WHOLE,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Doubles: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.floating[Any]]]"
Truths: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

EXP_BUFFERS, LOG_BUFFERS = 3, 4
"""How many buffers of the shape of x, or of a and b, the functions are handed."""
_WHOLE_BITS = np.float64(WHOLE).view(np.uint64)


def exp(x: Doubles, buffers: Sequence[Doubles]) -> None:
    """e^x in the place of x, nowhere above 0."""
    vanishes = x < LEAST_EXPONENT
    scale, value = _reduced(x, vanishes, buffers)
    value += 1.0
    np.multiply(value, scale, out=x)
    x[vanishes] = 0.0


def exp_less_one(x: Doubles, buffers: Sequence[Doubles]) -> None:
    """e^x - 1 in the place of x, nowhere above 0."""
    vanishes = x < LEAST_EXPONENT
    scale, value = _reduced(x, vanishes, buffers)
    np.multiply(value, scale, out=x)
    scale -= 1.0
    x += scale
    x[vanishes] = -1.0


def _reduced(x: Doubles, vanishes: Truths, buffers: Sequence[Doubles]) -> tuple[Doubles, Doubles]:
    """2^k, and e^r - 1, in buffers; x becomes r."""
    power, rest, value = buffers[:EXP_BUFFERS]
    x[vanishes] = 0.0
    np.multiply(x, LOG2_E, out=power)
    power += ROUNDING
    np.subtract(power, ROUNDING, out=rest)
    np.multiply(rest, LN2_HIGH, out=value)
    x -= value
    rest *= LN2_LOW
    x -= rest
    polynomial(EXP_COEFFICIENTS, x, out=value)
    np.multiply(x, x, out=rest)
    value *= rest
    value += x
    bits = power.view(np.uint64)
    bits <<= np.uint64(EXPONENT_SHIFT)
    return power, value


def log_of_ratio(a: Doubles, b: Doubles, buffers: Sequence[Doubles]) -> Doubles:
    """log(a / b), in one of the buffers."""
    power, share, square, value = buffers[:LOG_BUFFERS]
    bits, scale = power.view(np.uint64), share.view(np.uint64)
    np.subtract(a.view(np.uint64), b.view(np.uint64), out=bits)
    bits += np.uint64(RATIO_BITS)
    np.bitwise_and(bits, np.uint64(EXPONENT_BITS), out=scale)
    bits >>= np.uint64(EXPONENT_SHIFT)
    bits |= _WHOLE_BITS
    power -= WHOLE + EXPONENT_BIAS
    np.multiply(b, share, out=value)
    np.subtract(a, value, out=share)
    value += a
    share /= value
    np.multiply(share, share, out=square)
    polynomial(LOG_COEFFICIENTS, square, out=value)
    value *= square
    share += share
    value *= share
    np.multiply(power, LN2_LOW, out=square)
    value += square
    value += share
    power *= LN2_HIGH
    value += power
    return value


def polynomial(coefficients: tuple[float, ...], x: Floats, *, out: Floats) -> None:
    """By Horner's rule, highest power first."""
    out.fill(coefficients[0])
    for coefficient in coefficients[1:]:
        out *= x
        out += coefficient
