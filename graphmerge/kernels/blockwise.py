"""Kernel of keeping n of every m entries."""

from __future__ import annotations

import torch

from graphmerge.kernels.magnitude import magnitude_bits
from graphmerge.kernels.registry import Tile, register_kernel
from graphmerge.ops.blockwise import KeepInGroups


@register_kernel(KeepInGroups)
def keep_in_groups(op: KeepInGroups, tile: Tile) -> None:
    """The n largest magnitudes of every m, by a stable sort."""
    x = tile.inputs[0]
    bits = magnitude_bits(x, out=tile.scratch[0])
    missing = -len(bits) % op.group
    groups = torch.nn.functional.pad(bits, (0, missing), value=-1).view(-1, op.group)
    order = torch.sort(groups, dim=1, descending=True, stable=True).indices
    kept = torch.zeros(groups.shape, dtype=torch.bool, device=x.device)
    kept.scatter_(1, order[:, : op.keep], value=True)
    tile.output.copy_(x).masked_fill_(kept.view(-1)[: len(x)].logical_not(), 0.0)
