"""Made-up statistics of models in folders `m0`, `m1`, ...: Fisher and Gram matrices, and masks.

They depend on the model's name, on the tensor's name and on its shape, so that references make them
again. All but masks are in float32. Tensors whose name begins with `frozen` have no Gram matrix.
"""

import zlib
from functools import cache

import torch

from graphmerge.testing.stored_models import write_model

FISHERS, GRAMS, MASKS = "fisher", "gram", "masks"
KINDS = (FISHERS, GRAMS)
"""Of data."""
RESCALERS = torch.tensor([0.75, 1.5, 0.1], dtype=torch.float64)
"""Factors of the three tasks that masks are of."""


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


def masks(label, name, shape):
    """Bytes with a bit for each of three tasks, and others that no task has."""
    generator = _generator(MASKS, label, name)
    return torch.randint(0, 256, tuple(shape), generator=generator, dtype=torch.uint8)


def folder_of(label, kind):
    return f"{label}-{kind}"


def write_statistics(root, label, tensors):
    """Write all kinds for the model in the folder of this name."""
    for kind, make in ((FISHERS, fisher), (GRAMS, gram)):
        made = {name: make(label, name, x.shape) for name, x in tensors.items()}
        given = {name: x for name, x in made.items() if x is not None}
        if given:
            write_model(root / folder_of(label, kind), given)
    given = {name: masks(label, name, x.shape) for name, x in tensors.items()}
    write_model(root / folder_of(label, MASKS), given | {"emr.rescalers": RESCALERS})
