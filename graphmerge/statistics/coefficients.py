"""Coefficients of combinations from Gram matrices, one or many at once: shape (..., n, n)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from graphmerge.ops.coefficients import (
    LEAST_LENGTH,
    ArcCoefficients,
    DirectionCoefficients,
    MedianCoefficients,
    PerpendicularCoefficients,
    StockCoefficients,
)
from graphmerge.statistics.quiet import QUIET
from graphmerge.statistics.registry import Statistic, register_small

if TYPE_CHECKING:
    from collections.abc import Sequence


def norms(gram: Statistic) -> Statistic:
    """|x_i|, of shape (n, ...)."""
    squares = np.moveaxis(np.diagonal(gram, axis1=-2, axis2=-1), -1, 0)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def length_of(combination: Statistic, gram: Statistic) -> float:
    """|sum_i c_i x_i|."""
    return math.sqrt(max(float(combination @ gram @ combination), 0.0))


def share(part: Statistic, whole: Statistic) -> Statistic:
    """part / whole; 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole != 0)


@register_small(ArcCoefficients)
@QUIET
def arc_coefficients(op: ArcCoefficients, statistics: Sequence[Statistic]) -> Statistic:
    """(sin((1-t)W), sin(tW)) / sin W, or (1-t, t)."""
    gram = statistics[0]
    first, second = np.maximum(norms(gram), op.least_norm)
    cosine = np.clip(gram[..., 0, 1] / (first * second), -1.0, 1.0)
    angle = np.arccos(cosine)
    sine = np.sin(angle)
    is_arc = np.abs(sine) > op.least_sine
    divisor = np.where(is_arc, sine, 1.0)
    ends = (1 - op.t, op.t)
    return np.stack([np.where(is_arc, np.sin(t * angle) / divisor, t) for t in ends])


@register_small(DirectionCoefficients)
@QUIET
def direction_coefficients(op: DirectionCoefficients, statistics: Sequence[Statistic]) -> Statistic:
    """c_i = w_i L cos(eps) / (M (|x_i| + eps)), or w_i."""
    gram = statistics[0]
    weights, lengths = np.array(op.weights), norms(gram)
    scaled = share(weights, lengths + op.eps)
    length = length_of(scaled, gram)
    if not length >= max(op.eps, LEAST_LENGTH):
        return weights
    return scaled * (float(weights @ lengths) * math.cos(op.eps) / length)


@register_small(StockCoefficients)
@QUIET
def stock_coefficients(op: StockCoefficients, statistics: Sequence[Statistic]) -> Statistic:
    """t / n for each."""
    gram = statistics[0]
    count = gram.shape[-1]
    lengths = np.maximum(norms(gram), op.least)
    first, second = np.triu_indices(count, 1)
    pairs = np.moveaxis(gram[..., first, second], -1, 0)
    cosine = np.mean(pairs / (lengths[first] * lengths[second]), axis=0)
    divisor = 1 + (count - 1) * cosine
    ratio = cosine / np.where(divisor < op.least, 1.0, divisor)
    return np.stack([np.where(divisor < op.least, 0.0, ratio)] * count)


@register_small(MedianCoefficients)
@QUIET
def median_coefficients(op: MedianCoefficients, statistics: Sequence[Statistic]) -> Statistic:
    """Weiszfeld's iteration on the Gram matrix of the differences to the first point."""
    gram = np.pad(statistics[0], ((1, 0), (1, 0)))  # the first point differs by nothing from itself
    shares = np.full(len(gram), 1 / len(gram))
    distances = _distances(gram, shares)
    for _ in range(op.max_iter):
        closeness = 1 / np.maximum(distances, op.eps)
        shares = closeness / closeness.sum()
        before, distances = distances, _distances(gram, shares)
        if not before.sum() - distances.sum() > op.tol * before.sum():
            break
    return shares[1:]


def _distances(gram: Statistic, shares: Statistic) -> Statistic:
    """|x_i - sum_j shares_j x_j| for every i."""
    products = gram @ shares
    squares = np.diagonal(gram) - 2 * products + shares @ products
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


@register_small(PerpendicularCoefficients)
@QUIET
def perpendicular_coefficients(
    op: PerpendicularCoefficients, statistics: Sequence[Statistic]
) -> Statistic:
    """(-alpha <x_0, x_1> / |x_0|^2, alpha)."""
    gram = statistics[0]
    along = share(gram[0, 1], gram[0, 0])
    return np.array([-op.alpha * float(along), op.alpha])
