import json
from functools import partial

import pytest
from attrs import evolve
from drawn_layouts import content
from test_manifest import MANIFEST

from graphmerge.errors import CheckpointError
from graphmerge.output.checksums import CHECKSUM_BLOCK_ELEMENTS, TensorChecksum
from graphmerge.output.layout import layout_shards
from graphmerge.output.manifest import ManifestTensor, read_manifest, write_manifest
from graphmerge.output.rereading import BUFFER_BYTES, intact_tensors
from graphmerge.output.verify import VerifyReport, verify
from graphmerge.output.writer import ShardWriter
from graphmerge.spec import DType, TensorSpec
from graphmerge.testing.stored_models import flip_byte

LARGE = BUFFER_BYTES + CHECKSUM_BLOCK_ELEMENTS + 5
TENSORS = [
    ("large", TensorSpec((LARGE,), DType.U8)),
    ("matrix", TensorSpec((4, 5), DType.BF16)),
    ("scalar", TensorSpec((), DType.F32)),
    ("empty", TensorSpec((0, 2), DType.F16)),
]
TOTAL_BYTES = sum(spec.nbytes for _, spec in TENSORS)
SECOND = "model-00002-of-00002.safetensors"

INDEX_NAME = "model.safetensors.index.json"


def write_output(folder, *, max_shard_bytes=BUFFER_BYTES):
    """Two shards, unless told otherwise: `large`, and the others."""
    layout = layout_shards(TENSORS, max_shard_bytes=max_shard_bytes)
    tensors = {}
    with ShardWriter(folder, layout) as writer:
        for seed, slot in enumerate(layout.slots.values()):
            data = content(slot.spec, seed)
            writer.write(slot, 0, data)
            checksum = TensorChecksum(slot.spec)
            checksum.update(0, data)
            tensors[slot.name] = ManifestTensor(
                checksum.hexdigest(),
                slot.spec.dtype,
                slot.spec.shape,
                layout.shards[slot.shard].file_name,
            )
    write_manifest(folder, evolve(MANIFEST, tensors=tensors))
    if len(layout.shards) > 1:
        (folder / INDEX_NAME).write_text(layout.indexes()[INDEX_NAME])
    return layout


def flip_tensor(folder, layout, name, byte=0):
    slot = layout.slots[name]
    flip_byte(folder / layout.shards[slot.shard].file_name, slot.offset + byte)


intact = partial(VerifyReport, read_bytes=TOTAL_BYTES)


@pytest.mark.parametrize("max_shard_bytes", [BUFFER_BYTES, 10 * BUFFER_BYTES])
def test_an_untouched_output_is_intact(tmp_path, max_shard_bytes):
    write_output(tmp_path, max_shard_bytes=max_shard_bytes)
    seen = []
    report = verify(tmp_path, progress=seen.append)
    assert report == intact()
    assert report.is_intact
    assert sum(seen) == TOTAL_BYTES


@pytest.mark.parametrize(
    ("name", "byte"), [("large", 0), ("large", LARGE - 1), ("matrix", 17), ("scalar", 3)]
)
def test_one_changed_bit_is_found_by_name(tmp_path, name, byte):
    flip_tensor(tmp_path, write_output(tmp_path), name, byte)
    report = verify(tmp_path)
    assert report == intact(changed_tensors=(name,))
    assert not report.is_intact


def test_missing_and_extra_files_are_named(tmp_path):
    write_output(tmp_path)
    (tmp_path / SECOND).rename(tmp_path / "model.safetensors")
    assert verify(tmp_path) == VerifyReport(
        missing_files=(SECOND,), extra_files=("model.safetensors",), read_bytes=LARGE
    )


def test_an_index_beside_a_single_shard_is_extra(tmp_path):
    write_output(tmp_path, max_shard_bytes=10 * BUFFER_BYTES)
    (tmp_path / INDEX_NAME).write_text("{}")
    assert verify(tmp_path) == intact(extra_files=(INDEX_NAME,))


@pytest.mark.parametrize("text", ["{", '{"weight_map": {"large": "other.safetensors"}}'])
def test_an_index_that_says_something_else_is_damaged(tmp_path, text):
    write_output(tmp_path)
    (tmp_path / INDEX_NAME).write_text(text)
    assert verify(tmp_path) == intact(damaged_files=(INDEX_NAME,))


def test_a_truncated_shard_is_damaged(tmp_path):
    write_output(tmp_path)
    path = tmp_path / SECOND
    path.write_bytes(path.read_bytes()[:-1])
    assert verify(tmp_path) == VerifyReport(damaged_files=(SECOND,), read_bytes=LARGE)


def test_tensors_that_the_header_does_not_share_are_named(tmp_path):
    write_output(tmp_path)
    manifest = read_manifest(tmp_path)
    tensors = dict(manifest.tensors)
    tensors["renamed"] = tensors.pop("scalar")
    tensors["matrix"] = evolve(tensors["matrix"], shape=(5, 4))
    write_manifest(tmp_path, evolve(manifest, tensors=tensors))
    index = json.loads((tmp_path / INDEX_NAME).read_text())
    index["weight_map"]["renamed"] = index["weight_map"].pop("scalar")
    (tmp_path / INDEX_NAME).write_text(json.dumps(index))
    report = verify(tmp_path)
    assert report.missing_tensors == ("renamed",)
    assert report.extra_tensors == ("scalar",)
    assert report.changed_tensors == ("matrix",)
    assert report.damaged_files == ()


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no graphmerge\.json"):
        verify(tmp_path)


def test_of_the_finished_tensors_only_those_on_the_disk_are_intact(tmp_path):
    layout = write_output(tmp_path)
    finished = {name: t.checksum for name, t in read_manifest(tmp_path).tensors.items()}
    assert intact_tensors(tmp_path, layout, finished) == finished
    flip_tensor(tmp_path, layout, "matrix")
    assert finished.keys() - intact_tensors(tmp_path, layout, finished) == {"matrix"}
    (tmp_path / layout.shards[0].file_name).unlink()
    assert finished.keys() - intact_tensors(tmp_path, layout, finished) == {"large", "matrix"}


def test_a_missing_shard_does_not_pass_for_one_of_zeros(tmp_path):
    spec = TensorSpec((100,), DType.U8)
    checksum = TensorChecksum(spec)
    checksum.update(0, memoryview(bytes(100)))
    layout = layout_shards([("zeros", spec)], max_shard_bytes=100)
    assert intact_tensors(tmp_path, layout, {"zeros": checksum.hexdigest()}) == {}
