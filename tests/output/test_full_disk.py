import os

import pytest

from graphmerge.errors import MachineError
from graphmerge.output.layout import layout_shards
from graphmerge.output.writer import ShardWriter
from graphmerge.spec import DType, TensorSpec
from graphmerge.units import MIB


def test_a_disk_that_is_too_small_fails_before_any_work(small_disk):
    tensors = [(f"t{n}", TensorSpec((MIB // 2,), DType.U8)) for n in range(3)]
    layout = layout_shards(tensors, max_shard_bytes=MIB // 2)
    message = (
        r"the disk is full @ .*model-00002-of-00003\.safetensors: "
        r"got \d+ KiB free; wanted 512 KiB for this file"
    )
    with pytest.raises(MachineError, match=message), ShardWriter(small_disk, layout):
        pass


def test_a_disk_that_fills_up_while_writing_names_the_file(small_disk, monkeypatch):
    """Where no space can be reserved the disk may still fill up later."""
    monkeypatch.setattr(os, "posix_fallocate", lambda file, _, size: os.ftruncate(file, size))
    layout = layout_shards([("a", TensorSpec((2 * MIB,), DType.U8))], max_shard_bytes=1)
    with (
        ShardWriter(small_disk, layout) as writer,
        pytest.raises(MachineError, match=r"the disk is full @ .*model\.safetensors: got"),
    ):
        writer.write(layout.slots["a"], 0, memoryview(bytes(2 * MIB)))
