"""exp, exp - 1 and log of float64 vectors, as `graphmerge.ops.elementary` defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.native.types import DOUBLE, INT64, splat, vector_type
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
    from llvmlite import ir

    from graphmerge.native.registry import Value

_DOUBLES, _INTEGERS = vector_type(DOUBLE), vector_type(INT64)


def exp(builder: ir.IRBuilder, x: Value) -> Value:
    """e^x, nowhere above 0."""
    scale, value = _reduced(builder, x)
    scaled = builder.fmul(builder.fadd(value, _number(1.0)), scale)
    return builder.select(_vanishes(builder, x), _number(0.0), scaled)


def exp_less_one(builder: ir.IRBuilder, x: Value) -> Value:
    """e^x - 1, nowhere above 0."""
    scale, value = _reduced(builder, x)
    less = builder.fsub(scale, _number(1.0))
    scaled = builder.fadd(builder.fmul(value, scale), less)
    return builder.select(_vanishes(builder, x), _number(-1.0), scaled)


def _reduced(builder: ir.IRBuilder, x: Value) -> tuple[Value, Value]:
    """2^k and e^r - 1."""
    shifted = builder.fadd(builder.fmul(x, _number(LOG2_E)), _number(ROUNDING))
    whole = builder.fsub(shifted, _number(ROUNDING))
    rest = builder.fsub(x, builder.fmul(whole, _number(LN2_HIGH)))
    rest = builder.fsub(rest, builder.fmul(whole, _number(LN2_LOW)))
    value = polynomial(builder, EXP_COEFFICIENTS, rest)
    value = builder.fadd(builder.fmul(value, builder.fmul(rest, rest)), rest)
    bits = builder.shl(builder.bitcast(shifted, _INTEGERS), _integer(EXPONENT_SHIFT))
    return builder.bitcast(bits, _DOUBLES), value


def _vanishes(builder: ir.IRBuilder, x: Value) -> Value:
    return builder.fcmp_ordered("<", x, _number(LEAST_EXPONENT))


def log_of_ratio(builder: ir.IRBuilder, a: Value, b: Value) -> Value:
    """log(a / b)."""
    bits = builder.sub(builder.bitcast(a, _INTEGERS), builder.bitcast(b, _INTEGERS))
    bits = builder.add(bits, _integer(RATIO_BITS))
    scale = builder.bitcast(builder.and_(bits, _integer(EXPONENT_BITS)), _DOUBLES)
    power = builder.lshr(bits, _integer(EXPONENT_SHIFT))
    power = builder.or_(power, builder.bitcast(_number(WHOLE), _INTEGERS))
    power = builder.fsub(builder.bitcast(power, _DOUBLES), _number(WHOLE + EXPONENT_BIAS))
    scaled = builder.fmul(b, scale)
    share = builder.fdiv(builder.fsub(a, scaled), builder.fadd(scaled, a))
    square = builder.fmul(share, share)
    value = builder.fmul(polynomial(builder, LOG_COEFFICIENTS, square), square)
    twice = builder.fadd(share, share)
    value = builder.fadd(builder.fmul(value, twice), builder.fmul(power, _number(LN2_LOW)))
    value = builder.fadd(value, twice)
    return builder.fadd(value, builder.fmul(power, _number(LN2_HIGH)))


def polynomial(builder: ir.IRBuilder, coefficients: tuple[float, ...], x: Value) -> Value:
    """By Horner's rule, highest power first, of a vector of any kind of numbers."""
    value, *others = (splat(coefficient, x.type.element) for coefficient in coefficients)
    for other in others:
        value = builder.fadd(builder.fmul(value, x), other)
    return value


def _number(value: float) -> Value:
    return splat(value, DOUBLE)


def _integer(value: int) -> Value:
    return splat(value, INT64)
