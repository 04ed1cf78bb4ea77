"""Build the checkpoints of the benchmarks: a base and three fine-tunes of one shape, in bfloat16.

python benchmarks/checkpoints.py SHAPE FOLDER writes FOLDER/base, FOLDER/ft1, FOLDER/ft2 and
FOLDER/ft3, or the models named behind it; those that are there already stay as they are.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import LLAMA_0_1B, LLAMA_1_1B, LLAMA_7B, LlamaShape

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPES = {
    "0.1B": LLAMA_0_1B,
    "1.1B": LLAMA_1_1B,
    "7B": LLAMA_7B,
    "wide": LlamaShape(2, 2048, 5632, vocabulary=393_216, heads=32, kv_heads=4, tied=True),
}
"""By name; the embedding of `wide` takes 1.5 GiB, most of the model."""
FINE_TUNES = ("ft1", "ft2", "ft3")
UPDATE_STD = 0.002
"""Of the noise that makes a fine-tune, beside 0.02 for the weights."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", help="default: all four")
    arguments = parser.parse_args()
    build(SHAPES[arguments.shape], arguments.folder, arguments.models or ("base", *FINE_TUNES))


def build(shape: LlamaShape, folder: Path, models: Sequence[str]) -> None:
    """Write the models that are missing; a base that only fine-tunes need goes again."""
    if all(is_present(folder / name, shape) for name in models):
        return
    base = folder / "base"
    was_there = is_present(base, shape)
    if not was_there:
        write_base(started(base), shape, seed=0)
        finish(base)
    for seed, name in enumerate(FINE_TUNES, start=1):
        if name in models and not is_present(folder / name, shape):
            write_fine_tune(started(folder / name), base, seed=seed, scale=UPDATE_STD)
            finish(folder / name)
    if "base" not in models and not was_there:
        shutil.rmtree(base)


def is_present(model: Path, shape: LlamaShape) -> bool:
    """Whether a model is there; one of another shape is an error."""
    if not model.exists():
        return False
    config = json.loads((model / "config.json").read_text())
    found = tuple(config[key] for key in ("num_hidden_layers", "hidden_size", "vocab_size"))
    if found != (shape.layers, shape.hidden, shape.vocabulary):
        raise SystemExit(f"{model} is of another shape: {found}; choose another folder")
    return True


def started(model: Path) -> Path:
    """Empty folder to write a model into, beside its final place."""
    partial = model.with_name(f"{model.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    print(f"writing {model}", flush=True)
    return partial


def finish(model: Path) -> None:
    """Move a finished model to its place."""
    model.with_name(f"{model.name}.partial").rename(model)


if __name__ == "__main__":
    main()
