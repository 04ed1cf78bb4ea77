"""Divergences of the softmax of rows in numpy: see `graphmerge.ops.importance`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphmerge.kernels.elementary import EXP_BUFFERS, LOG_BUFFERS, exp, log_of_ratio
from graphmerge.kernels.lanes import folded
from graphmerge.kernels.near_rows import BUFFERS, near_divergences
from graphmerge.ops.importance import FLOOR, GROUP_ELEMENTS, NUMPY_BUFFERS, ROW_LANES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from graphmerge.kernels.elementary import Doubles, Floats
    from graphmerge.kernels.near_rows import Singles

assert max(EXP_BUFFERS, LOG_BUFFERS) + 2 == NUMPY_BUFFERS
assert BUFFERS <= 2 * NUMPY_BUFFERS, "those of near rows are in float32"


def divergences(first: Floats, second: Floats) -> Doubles:
    """KL of each row's softmax, both plus FLOOR. Shape (rows) of two of (rows, row)."""
    return _by_groups(_in_doubles, first, second)


def single_divergences(first: Singles, second: Singles) -> Doubles:
    """The same of float32, in which rows near each other are computed."""
    return _by_groups(_in_singles_where_near, first, second)


def _by_groups(
    of_group: Callable[[Floats, Floats, Doubles], Doubles], first: Floats, second: Floats
) -> Doubles:
    """Divergences of a few rows at a time, in the same buffers."""
    rows, row = first.shape
    step = max(1, GROUP_ELEMENTS // max(row, ROW_LANES))
    memory = np.empty((NUMPY_BUFFERS, min(step, rows), row))
    found = np.empty(rows)
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity give NaN
        for begin in range(0, rows, step):
            group = slice(begin, begin + step)
            found[group] = of_group(first[group], second[group], memory)
    return found


def _in_doubles(first: Floats, second: Floats, memory: Doubles) -> Doubles:
    p, q, *others = memory[:, : len(first)]
    p[...], q[...] = first, second
    return _divergences(p, q, others)


def _in_singles_where_near(first: Singles, second: Singles, memory: Doubles) -> Doubles:
    singles = memory.reshape(-1).view(np.float32)[: BUFFERS * first.size]
    with np.errstate(all="ignore"):  # of rows that are not near
        found, is_near = near_divergences(
            first, second, list(singles.reshape(BUFFERS, *first.shape))
        )
    (far,) = np.nonzero(~is_near)
    if far.size:
        found[far] = _in_doubles(first[far], second[far], memory)
    return found


def _divergences(p: Doubles, q: Doubles, buffers: Sequence[Doubles]) -> Doubles:
    for x in (p, q):
        _softmax(x, buffers)
        x += FLOOR
    terms = log_of_ratio(p, q, buffers)
    terms *= p
    p -= q
    terms -= p
    found = _sums(terms)
    found[found < 0] = 0.0
    return found


def _softmax(x: Doubles, buffers: Sequence[Doubles]) -> None:
    x -= x.max(axis=1, keepdims=True)
    exp(x, buffers)
    x *= (1.0 / _sums(x))[:, np.newaxis]


def _sums(x: Doubles) -> Doubles:
    """Sums of rows: entry j to lane j mod ROW_LANES, in order; then halves upon halves."""
    rows, row = x.shape
    count, rest = divmod(row, ROW_LANES)
    strides = (x.strides[0], ROW_LANES * x.itemsize, x.itemsize)
    parts = as_strided(x, (rows, count, ROW_LANES), strides)
    lanes: Doubles = np.add.reduce(parts, axis=1, initial=0.0)
    lanes[:, :rest] += x[:, row - rest :]
    return folded(lanes)
