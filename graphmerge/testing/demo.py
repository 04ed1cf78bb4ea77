"""The checkpoints of `make demo`: a base and two fine-tunes, about 100 MB each, in two shards."""

from __future__ import annotations

import sys
from pathlib import Path

from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import DEMO

SHARD_BYTES = 64 * 10**6
FINE_TUNES = {"code": 1, "chat": 2}
"""Names of the fine-tunes, and the seeds of their noise."""


def write_demo(folder: Path) -> None:
    """Write the checkpoints into a folder, where they are not there yet."""
    base = folder / "base"
    if not base.exists():
        write_base(base, DEMO, seed=0, max_shard_bytes=SHARD_BYTES)
    for name, seed in FINE_TUNES.items():
        if not (folder / name).exists():
            write_fine_tune(folder / name, base, seed=seed, scale=0.002)


if __name__ == "__main__":
    write_demo(Path(sys.argv[1]))
