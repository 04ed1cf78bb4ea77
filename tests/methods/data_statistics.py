"""Statistics of made-up data for models in folders `m0`, `m1`, ...: Fisher and Gram matrices.

They depend on the model's name, on the tensor's name and on its shape, so that references make them
again. All are in float32. Tensors whose name begins with `frozen` have no Gram matrix.
"""

import zlib
from functools import cache

import torch

from graphmerge.testing.stored_models import write_model

FISHERS, GRAMS = "fisher", "gram"
KINDS = (FISHERS, GRAMS)


def _generator(*key):
    return torch.Generator().manual_seed(zlib.crc32(repr(key).encode()))


@cache
def fisher(label, name, shape):
    """Numbers over many powers of ten, a part of them zero."""
    drawn = torch.rand(tuple(shape), generator=_generator(FISHERS, label, name))
    return torch.where(drawn < 0.1, 0.0, 0.1 * drawn**12)


@cache
def gram(label, name, shape):
    """X^T X of fewer inputs than a wide layer has columns; None for what is no linear layer."""
    if len(shape) != 2 or name.startswith("frozen"):
        return None
    size = (max(2, shape[1] // 2), shape[1])
    x = torch.randn(size, generator=_generator(GRAMS, label, name), dtype=torch.float64)
    return (x.T @ x).float()


def folder_of(label, kind):
    return f"{label}-{kind}"


def write_statistics(root, label, tensors):
    """Write both kinds for the model in the folder of this name."""
    for kind, make in ((FISHERS, fisher), (GRAMS, gram)):
        made = {name: make(label, name, x.shape) for name, x in tensors.items()}
        given = {name: x for name, x in made.items() if x is not None}
        if given:
            write_model(root / folder_of(label, kind), given)
