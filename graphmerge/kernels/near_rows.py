"""Divergences of rows that are near each other in numpy: see `graphmerge.ops.near_rows`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphmerge.kernels.elementary import polynomial
from graphmerge.kernels.lanes import folded
from graphmerge.ops.importance import ROW_LANES
from graphmerge.ops.near_rows import (
    CHANGE,
    CHANGE_COEFFICIENTS,
    EXP_COEFFICIENTS,
    EXPONENT_SHIFT,
    LARGEST,
    LEAST,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    LOG_COEFFICIENTS,
    ROUNDING,
    SEGMENT_ELEMENTS,
    TWICE_FLOOR,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.kernels.elementary import Doubles, Truths

    Singles: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"

BUFFERS = 5
"""How many float32 buffers of the shape of the rows are handed over."""


def near_divergences(
    first: Singles, second: Singles, buffers: Sequence[Singles]
) -> tuple[Doubles, Truths]:
    """Divergences of rows, and which are near; those of the others mean nothing."""
    change, power, value, other, rest = buffers[:BUFFERS]
    np.subtract(first, second, out=change)
    is_near = np.abs(change, out=value).max(axis=1) <= CHANGE
    is_near &= np.abs(second, out=value).max(axis=1) <= LARGEST
    _exp(second, power, value, other, rest)
    _less_one(change, value, other)
    whole = _sums(power)
    with_change = _sums(np.multiply(power, change, out=value))
    tuned = whole + with_change
    ratio = 2.0 * (tuned / whole)
    mean = with_change / whole
    change -= _column(mean)
    change *= power
    power *= _column(ratio)
    power += _column(TWICE_FLOOR * tuned)
    total = _sums(_terms(change, power, value, other))
    found = total / tuned * (ratio.astype(np.float32) / ratio)
    found[found < LEAST * (mean * mean)] = 0.0
    return found, is_near


def _exp(x: Singles, out: Singles, whole: Singles, value: Singles, rest: Singles) -> None:
    """e^x; the last three are buffers."""
    np.multiply(x, LOG2_E, out=out)
    out += ROUNDING
    np.subtract(out, ROUNDING, out=whole)
    bits = out.view(np.uint32)
    bits <<= np.uint32(EXPONENT_SHIFT)
    np.multiply(whole, LN2_HIGH, out=value)
    np.subtract(x, value, out=rest)
    whole *= LN2_LOW
    rest -= whole
    polynomial(EXP_COEFFICIENTS, rest, out=value)
    value *= np.multiply(rest, rest, out=whole)
    value += rest
    value += 1.0
    out *= value


def _less_one(change: Singles, square: Singles, value: Singles) -> None:
    """e^d - 1 in the place of d."""
    np.multiply(change, change, out=square)
    polynomial(CHANGE_COEFFICIENTS, change, out=value)
    value *= square
    change += value


def _terms(change: Singles, share: Singles, square: Singles, value: Singles) -> Singles:
    """What is added up, in the place of c; `share` is u."""
    share += change
    np.divide(change, share, out=share)
    np.multiply(share, share, out=square)
    polynomial(LOG_COEFFICIENTS, square, out=value)
    square += share
    value *= square
    change *= share
    value *= change
    change += value
    return change


def _sums(x: Singles) -> Doubles:
    """Sums of rows: in float32 by segments, in float64 over them, by lanes; then halves."""
    rows, row = x.shape
    segments = row // SEGMENT_ELEMENTS
    vectors = SEGMENT_ELEMENTS // ROW_LANES
    sizes = (SEGMENT_ELEMENTS, ROW_LANES, 1)
    strides = (x.strides[0], *(size * x.itemsize for size in sizes))
    parts = as_strided(x, (rows, segments, vectors, ROW_LANES), strides)
    singles = np.add.reduce(parts, axis=2, initial=0.0)
    lanes: Doubles = np.add.reduce(singles.astype(np.float64), axis=1, initial=0.0)
    lanes += _last_segment(x[:, segments * SEGMENT_ELEMENTS :])
    return folded(lanes)


def _last_segment(x: Singles) -> Singles:
    """The lanes of a segment that is not whole."""
    rows, entries = x.shape
    count, rest = divmod(entries, ROW_LANES)
    strides = (x.strides[0], ROW_LANES * x.itemsize, x.itemsize)
    lanes: Singles = np.add.reduce(as_strided(x, (rows, count, ROW_LANES), strides), axis=1)
    lanes[:, :rest] += x[:, entries - rest :]
    return lanes


def _column(numbers: Doubles) -> Singles:
    """A number for each row, rounded to float32."""
    return numbers.astype(np.float32)[:, np.newaxis]
