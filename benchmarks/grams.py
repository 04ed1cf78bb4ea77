"""Write Gram matrices for the linear layers of a fine-tune: what regmean wants beside weights.

python benchmarks/grams.py FOLDER/grams1 writes those of FOLDER/ft1, a file for each layer. They are
X^T X of random inputs X in float32, the same for all linear layers of one width in a layer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from checkpoints import finish, started
from safetensors.numpy import save_file

from graphmerge.checkpoint.reading import read_checkpoint

EXAMPLES = 512
"""Rows of X."""
LAYERS = "model.layers."


def main() -> None:
    """Run the command."""
    folder = Path(sys.argv[1])
    number = folder.name.removeprefix("grams")
    write(folder, folder.with_name(f"ft{number}"), seed=int(number))


def write(folder: Path, model: Path, *, seed: int) -> None:
    """Write the Gram matrices of a model."""
    random = np.random.default_rng(seed)
    widths = linear_layers(model)
    partial = started(folder)
    index: dict[str, str] = {}
    for layer, names in enumerate(by_layer(widths)):
        file = f"layer-{layer}.safetensors"
        grams = {width: gram(random, width) for width in sorted({widths[name] for name in names})}
        save_file({name: grams[widths[name]] for name in names}, partial / file)
        index |= dict.fromkeys(names, file)
    total = {"metadata": {}, "weight_map": index}
    (partial / "model.safetensors.index.json").write_text(json.dumps(total))
    finish(folder)


def linear_layers(model: Path) -> dict[str, int]:
    """Number of inputs of each weight of a linear layer within the decoder's layers, by name."""
    tensors = read_checkpoint(model).tensors
    return {
        name: entry.spec.shape[1]
        for name, entry in tensors.items()
        if name.startswith(LAYERS) and len(entry.spec.shape) == 2
    }


def by_layer(names: dict[str, int]) -> list[list[str]]:
    """The names of each layer."""
    count = 1 + max(int(name.split(".")[2]) for name in names)
    prefixes = (f"{LAYERS}{layer}." for layer in range(count))
    return [[name for name in names if name.startswith(prefix)] for prefix in prefixes]


def gram(random: np.random.Generator, width: int) -> np.ndarray:
    """X^T X, of shape (width, width)."""
    x = random.standard_normal((EXAMPLES, width), dtype=np.float32)
    return x.T @ x


if __name__ == "__main__":
    main()
