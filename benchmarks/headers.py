"""Build checkpoints that are headers only: files of the right size without any data on the disk.

python benchmarks/headers.py LAYERS EXPERTS FOLDER writes FOLDER/a to FOLDER/d, each a mixture of so
many experts a layer; with 0 experts a dense model of the shape of Llama 2 70B.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from attrs import evolve

from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import LLAMA_70B, LlamaShape

MIXTURE = LlamaShape(1, 2048, 768, vocabulary=151_936, heads=32, kv_heads=4)
"""Widths of Qwen3-30B-A3B."""
MODELS = "abcd"
SHARD_BYTES = 5 * 10**9


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layers", type=int)
    parser.add_argument("experts", type=int)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    widths = MIXTURE if arguments.experts else LLAMA_70B
    shape = evolve(widths, layers=arguments.layers, experts=arguments.experts)
    for name in MODELS:
        if not (arguments.folder / name / "config.json").exists():
            write_header_only(arguments.folder / name, shape, max_shard_bytes=SHARD_BYTES)


if __name__ == "__main__":
    main()
