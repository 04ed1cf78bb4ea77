import errno
import os
import random
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import safetensors
from drawn_layouts import TENSORS, content, pieces
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmerge.descriptors import DescriptorPool
from graphmerge.errors import MachineError
from graphmerge.output.layout import layout_shards
from graphmerge.output.writer import ShardWriter
from graphmerge.spec import DType, TensorSpec

FLOATS = TensorSpec((3, 2), DType.F32)
DESCRIPTORS = Path("/proc/self/fd")


def stored(folder, layout):
    tensors = {}
    for shard in layout.shards:
        tensors.update(safetensors.deserialize((folder / shard.file_name).read_bytes()))
    return tensors


@settings(deadline=None)  # it waits for the disk
@given(
    tensors=TENSORS,
    max_shard_bytes=st.integers(1, 2000),
    step_bytes=st.integers(1, 300),
    randomness=st.randoms(use_true_random=False),
)
def test_any_order_of_any_pieces_is_read_back_by_safetensors(
    tensors, max_shard_bytes, step_bytes, randomness
):
    layout = layout_shards(tensors, max_shard_bytes=max_shard_bytes)
    contents = {name: content(spec, seed) for seed, (name, spec) in enumerate(tensors)}
    jobs = [
        (slot, begin, end)
        for slot in layout.slots.values()
        for begin, end in pieces(slot.spec.nbytes, step_bytes)
    ]
    randomness.shuffle(jobs)
    with tempfile.TemporaryDirectory() as name:
        with ShardWriter(Path(name), layout) as writer:
            for slot, begin, end in jobs:
                writer.write(slot, begin, memoryview(contents[slot.name])[begin:end])
        found = stored(Path(name), layout)
    assert found.keys() == contents.keys()
    for tensor_name, spec in tensors:
        assert tuple(found[tensor_name]["shape"]) == spec.shape
        assert found[tensor_name]["dtype"] == spec.dtype.value
        assert bytes(found[tensor_name]["data"]) == contents[tensor_name].tobytes()


def test_arrays_of_any_type_and_shape_are_taken_as_bytes(tmp_path):
    tensors = {
        "matrix": np.arange(6, dtype=np.float32).reshape(3, 2),
        "scalar": np.array(1.5),
        "empty": np.zeros((0, 3), dtype=np.float16),
        "complex": np.array([1 + 2j], dtype=np.complex64),
    }
    dtypes = (DType.F32, DType.F64, DType.F16, DType.C64)
    specs = [TensorSpec(x.shape, d) for x, d in zip(tensors.values(), dtypes, strict=True)]
    layout = layout_shards(list(zip(tensors, specs, strict=True)), max_shard_bytes=1000)
    with ShardWriter(tmp_path, layout) as writer:
        for name, array in tensors.items():
            writer.write(layout.slots[name], 0, array)
    found = stored(tmp_path, layout)
    assert {name: bytes(found[name]["data"]) for name in tensors} == {
        name: array.tobytes() for name, array in tensors.items()
    }


def test_tensors_behind_one_another_are_written_at_once_where_they_are_neighbours(
    tmp_path, monkeypatch
):
    tensors = [(name, FLOATS) for name in "abcdef"]
    layout = layout_shards(tensors, max_shard_bytes=4 * FLOATS.nbytes)
    data = {name: content(FLOATS, seed) for seed, (name, _) in enumerate(tensors)}
    write, sizes = os.pwrite, []

    def noting(descriptor, view, position):
        sizes.append(len(view) / FLOATS.nbytes)
        return write(descriptor, view, position)

    with ShardWriter(tmp_path, layout) as writer:
        monkeypatch.setattr(os, "pwrite", noting)
        for names in ("abdef", "c"):
            slots = [layout.slots[name] for name in names]
            writer.write_whole(slots, np.concatenate([data[name] for name in names]))
    assert sizes == [2, 1, 2, 1]  # a b, d, e f (in another file), c
    found = stored(tmp_path, layout)
    assert {name: bytes(found[name]["data"]) for name in data} == {
        name: array.tobytes() for name, array in data.items()
    }


def test_too_few_bytes_for_whole_tensors_are_refused(tmp_path):
    layout = layout_shards([("a", FLOATS), ("b", FLOATS)], max_shard_bytes=1000)
    with (
        ShardWriter(tmp_path, layout) as writer,
        pytest.raises(ValueError, match="47 bytes are not 2 tensors of 24 bytes"),
    ):
        writer.write_whole(list(layout.slots.values()), np.zeros(47, np.uint8))


def test_many_threads_write_more_shards_than_files_may_be_open(tmp_path, monkeypatch):
    opened = len(list(DESCRIPTORS.iterdir()))
    most = 0
    tensors = [(f"t{n}", TensorSpec((1000,), DType.F32)) for n in range(150)]
    layout = layout_shards(tensors, max_shard_bytes=1)
    contents = {name: content(spec, seed) for seed, (name, spec) in enumerate(tensors)}
    jobs = [(s, b, e) for s in layout.slots.values() for b, e in pieces(s.spec.nbytes, 500)]
    random.Random(0).shuffle(jobs)

    def write(job):
        nonlocal most
        slot, begin, end = job
        writer.write(slot, begin, contents[slot.name][begin:end])
        most = max(most, len(list(DESCRIPTORS.iterdir())) - opened)

    with ShardWriter(tmp_path, layout) as writer, ThreadPoolExecutor(8) as workers:
        list(workers.map(write, jobs))
        writer.fsync_all()
    assert most <= 64 + 8 + 8  # the pool, where all are in use, and the listings themselves
    assert len(list(DESCRIPTORS.iterdir())) == opened
    found = stored(tmp_path, layout)
    assert all(bytes(found[name]["data"]) == data.tobytes() for name, data in contents.items())


def test_a_borrowed_file_is_not_closed_for_another(tmp_path):
    pool = DescriptorPool(os.O_WRONLY | os.O_CREAT, nullcontext, max_open_files=1)
    with pool.borrow(tmp_path / "a", tmp_path / "b") as (a, b):
        os.write(a, b"first")
        os.write(b, b"second")
    pool.close()
    assert (tmp_path / "a").read_bytes() == b"first"
    assert (tmp_path / "b").read_bytes() == b"second"


def test_files_have_their_full_size_before_any_tensor_is_written(tmp_path):
    layout = layout_shards([("a", TensorSpec((1 << 20,), DType.F32))], max_shard_bytes=1)
    with ShardWriter(tmp_path, layout):
        status = (tmp_path / "model.safetensors").stat()
    assert status.st_size == layout.shards[0].size_bytes
    assert status.st_blocks * 512 >= layout.shards[0].size_bytes


def test_a_continued_output_keeps_what_was_written(tmp_path):
    layout = layout_shards([("a", FLOATS), ("b", FLOATS)], max_shard_bytes=100)
    first, second = content(FLOATS, 1), content(FLOATS, 2)
    with ShardWriter(tmp_path, layout) as writer:
        writer.write(layout.slots["a"], 0, first)
    with ShardWriter(tmp_path, layout) as writer:
        writer.write(layout.slots["b"], 0, second)
    found = stored(tmp_path, layout)
    assert bytes(found["a"]["data"]) == first.tobytes()
    assert bytes(found["b"]["data"]) == second.tobytes()


@pytest.mark.parametrize("start_byte", [-1, 1])
def test_a_piece_outside_its_tensor_is_refused(tmp_path, start_byte):
    layout = layout_shards([("a", FLOATS), ("b", FLOATS)], max_shard_bytes=100)
    with (
        ShardWriter(tmp_path, layout) as writer,
        pytest.raises(ValueError, match="reach outside a, which has 24 B"),
    ):
        writer.write(layout.slots["a"], start_byte, content(FLOATS, 0))


def test_a_file_system_that_cannot_reserve_gets_sparse_files(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    layout = layout_shards([("a", FLOATS)], max_shard_bytes=100)
    with ShardWriter(tmp_path, layout):
        pass
    assert (tmp_path / "model.safetensors").stat().st_size == layout.shards[0].size_bytes


def test_short_writes_are_continued(tmp_path, monkeypatch):
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: whole(file, data[:7], at))
    layout = layout_shards([("a", FLOATS)], max_shard_bytes=100)
    with ShardWriter(tmp_path, layout) as writer:
        writer.write(layout.slots["a"], 0, content(FLOATS, 0))
    assert bytes(stored(tmp_path, layout)["a"]["data"]) == content(FLOATS, 0).tobytes()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, r"the disk is full @ .*model\.safetensors: got .* free; wanted 24 B"),
        (errno.EDQUOT, r"the disk quota is used up @ .*model\.safetensors"),
        (errno.EROFS, r"cannot write @ .*model\.safetensors: got Read-only .*\(check perm"),
        (errno.EIO, r"cannot write @ .*model\.safetensors: got Input/output error"),
    ],
)
def test_failing_writes_name_file_and_cause(tmp_path, monkeypatch, number, message):
    layout = layout_shards([("a", FLOATS)], max_shard_bytes=100)

    def fail(*_):
        raise OSError(number, os.strerror(number))

    with ShardWriter(tmp_path, layout) as writer:
        monkeypatch.setattr(os, "pwrite", fail)
        with pytest.raises(MachineError, match=message):
            writer.write(layout.slots["a"], 0, content(FLOATS, 0))


def test_a_missing_folder_is_an_error_of_the_machine(tmp_path):
    layout = layout_shards([("a", FLOATS)], max_shard_bytes=100)
    with (
        pytest.raises(MachineError, match=r"model\.safetensors: got No such file or directory"),
        ShardWriter(tmp_path / "gone", layout),
    ):
        pass
