"""The least that a merge must do: read every input byte once, write every output byte.

python benchmarks/floor.py OUT MODEL[:SHARE] ... reads the first SHARE (all, unless given) of the
tensor files of each model with two threads in pieces of 8 MiB, and writes a file OUT as large as
the tensor files of the first model, out of the same buffers. Nothing is computed.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

THREADS = 2
PIECE_BYTES = 8 * 2**20

Piece = tuple[int, int, int]
"""File descriptor, offset, length."""


def main() -> None:
    """Run the command."""
    out, *models = sys.argv[1:]
    shares = [model.rpartition(":") if ":" in model else (model, ":", "1") for model in models]
    inputs = [pieces(model, float(share)) for model, _, share in shares]
    reads = interleaved(inputs)
    size = sum(file.stat().st_size for file in tensor_files(shares[0][0]))
    target = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    offsets = range(0, size, PIECE_BYTES)
    writes = [(target, offset, min(PIECE_BYTES, size - offset)) for offset in offsets]
    buffers = local()

    def step(index: int) -> None:
        if not hasattr(buffers, "view"):
            buffers.view = memoryview(bytearray(PIECE_BYTES))
        first, last = (len(reads) * at // len(writes) for at in (index, index + 1))
        for descriptor, offset, length in reads[first:last]:
            if os.preadv(descriptor, [buffers.view[:length]], offset) != length:
                raise OSError("short read")
        descriptor, offset, length = writes[index]
        if os.pwrite(descriptor, buffers.view[:length], offset) != length:
            raise OSError("short write")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(step, range(len(writes))))


def tensor_files(model: str) -> list[Path]:
    """The files of a checkpoint that hold tensors."""
    return sorted(Path(model).glob("*.safetensors"))


def pieces(model: str, share: float) -> list[Piece]:
    """The first share of a model's files in pieces."""
    found: list[Piece] = []
    for file in tensor_files(model):
        descriptor, size = os.open(file, os.O_RDONLY), file.stat().st_size
        found += [
            (descriptor, offset, min(PIECE_BYTES, size - offset))
            for offset in range(0, size, PIECE_BYTES)
        ]
    return found[: round(len(found) * share)]


def interleaved(inputs: list[list[Piece]]) -> list[Piece]:
    """Pieces in the order of their place in their model."""
    numbered = [entry for found in inputs for entry in enumerate(found)]
    return [piece for _, piece in sorted(numbered, key=lambda entry: entry[0])]


if __name__ == "__main__":
    main()
