"""Divergences of the softmax of rows in numpy: see `graphmerge.ops.importance`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphmerge.kernels.elementary import EXP_BUFFERS, LOG_BUFFERS, exp, log_of_ratio
from graphmerge.kernels.lanes import folded
from graphmerge.kernels.near_rows import BUFFERS, near_divergences
from graphmerge.ops.importance import FLOOR, GROUP_ELEMENTS, NUMPY_BUFFERS, ROW_LANES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.kernels.elementary import Doubles
    from graphmerge.kernels.near_rows import Singles

    Rows: TypeAlias = "np.ndarray[Any, np.dtype[np.floating[Any]]]"

assert max(EXP_BUFFERS, LOG_BUFFERS) + 2 == NUMPY_BUFFERS
assert BUFFERS <= 2 * NUMPY_BUFFERS, "those of near rows are in float32"


def divergences(first: Rows, second: Rows) -> Doubles:
    """KL of each row's softmax, both plus FLOOR. Shape (rows) of two of (rows, row)."""
    rows, row = first.shape
    step = max(1, GROUP_ELEMENTS // max(row, ROW_LANES))
    buffers = np.empty((NUMPY_BUFFERS, min(step, rows), row))
    found = np.empty(rows)
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity give NaN
        for begin in range(0, rows, step):
            group = slice(begin, begin + step)
            count = len(first[group])
            p, q, *others = buffers[:, :count]
            p[...], q[...] = first[group], second[group]
            found[group] = _divergences(p, q, others)
    return found


def single_divergences(first: Singles, second: Singles) -> Doubles:
    """The same of float32, in which rows near each other are computed."""
    rows, row = first.shape
    step = max(1, GROUP_ELEMENTS // max(row, ROW_LANES))
    memory = np.empty((NUMPY_BUFFERS, min(step, rows), row))
    found = np.empty(rows)
    with np.errstate(all="ignore"):  # of rows that are not near
        for begin in range(0, rows, step):
            a, b = first[begin : begin + step], second[begin : begin + step]
            singles = memory.reshape(-1).view(np.float32)[: BUFFERS * a.size]
            near, is_near = near_divergences(a, b, list(singles.reshape(BUFFERS, *a.shape)))
            (far,) = np.nonzero(~is_near)
            if far.size:
                p, q, *others = memory[:, : far.size]
                p[...], q[...] = a[far], b[far]
                near[far] = _divergences(p, q, others)
            found[begin : begin + step] = near
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
