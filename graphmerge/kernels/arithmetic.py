"""Kernels of casts, differences, sums and scalings."""

from __future__ import annotations

import torch

from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.arithmetic import AddDelta, Cast, Scale, TaskVector, WeightedSum
from graphmerge.ops.rescale import Rescale
from graphmerge.ops.spherical import Combine


@register_kernel(Cast)
def cast(op: Cast, tile: Tile) -> None:
    """The same values in the output's dtype, rounded once to nearest even."""
    source, output = tile.inputs[0], tile.output
    if source.dtype is torch.float64 and output.dtype in (torch.bfloat16, torch.float16):
        output.copy_(_rounded_to_odd(source))
    else:
        output.copy_(source)


def _rounded_to_odd(x: torch.Tensor) -> torch.Tensor:
    """A float64 as float32, with an odd last bit where inexact, so that rounding again is right.

    Boldo and Melquiond, Emulation of a FMA and correctly rounded sums, IEEE TC 2008.
    """
    nearest = x.to(torch.float32)
    too_large = nearest.abs().to(torch.float64) > x.abs()
    truncated = torch.where(too_large, torch.nextafter(nearest, torch.zeros_like(nearest)), nearest)
    inexact = truncated.to(torch.float64) != x
    bits = truncated.view(torch.int32)
    return torch.where(inexact & x.isfinite(), bits | 1, bits).view(torch.float32)


@register_kernel(TaskVector)
def task_vector(op: TaskVector, tile: Tile) -> None:
    """Model minus base."""
    torch.sub(tile.inputs[0], tile.inputs[1], out=tile.output)


@register_kernel(WeightedSum)
def weighted_sum(op: WeightedSum, tile: Tile) -> None:
    """sum_i w_i x_i / divisor, in order."""
    _combine(tile, op.weights)
    if op.divisor != 1:
        tile.output.div_(op.divisor)


@register_kernel(Combine)
def combine(op: Combine, tile: Tile) -> None:
    """sum_i c_i x_i, in order."""
    _combine(tile, tuple(map(float, tile.statistics[0])))


def _combine(tile: Tile, weights: tuple[float, ...]) -> None:
    torch.mul(tile.inputs[0], weights[0], out=tile.output)
    for x, weight in zip(tile.inputs[1:], weights[1:], strict=True):
        tile.output.add_(x, alpha=weight)


@register_kernel(Scale)
def scale(op: Scale, tile: Tile) -> None:
    """factor * x."""
    torch.mul(tile.inputs[0], op.factor, out=tile.output)


@register_kernel(Rescale)
def rescale(op: Rescale, tile: Tile) -> None:
    """Statistic * x."""
    torch.mul(tile.inputs[0], float(tile.statistics[0]), out=tile.output)


@register_kernel(AddDelta)
def add_delta(op: AddDelta, tile: Tile) -> None:
    """Base plus scale * delta."""
    torch.add(tile.inputs[0], tile.inputs[1], alpha=op.scale, out=tile.output)
