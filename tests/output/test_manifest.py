import json

import pytest
from attrs import evolve

from graphmerge.checkpoint.own_files import MANIFEST_NAME
from graphmerge.errors import CheckpointError
from graphmerge.output.manifest import (
    Manifest,
    ManifestInput,
    ManifestTensor,
    read_manifest,
    write_manifest,
)
from graphmerge.spec import DType

MANIFEST = Manifest(
    graphmerge_version="0.1.0",
    recipe="merge_method: ties\n",
    method="ties",
    parameters={"normalize": True, "density": [0.1, 1], "layers": {"a": None}},
    seed=0,
    versions={"python": "3.11.7"},
    inputs=(ManifestInput("org/model", "/cache/model", "f1"),),
    tensors={"a": ManifestTensor("00ff", DType.BF16, (2, 3), "model.safetensors")},
    predicted_peak_bytes=100,
    measured_peak_bytes=90,
    budget_bytes=None,
    seconds=1.5,
    read_bytes=10,
    written_bytes=12,
    warnings=("one tensor was copied",),
)


def test_it_is_read_as_it_was_written(tmp_path):
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST


def test_a_budget_is_kept(tmp_path):
    write_manifest(tmp_path, evolve(MANIFEST, budget_bytes=2**31))
    assert read_manifest(tmp_path).budget_bytes == 2**31


def test_a_folder_without_one_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=rf"no graphmerge\.json @ {tmp_path}"):
        read_manifest(tmp_path)


def changed(folder, **changes):
    write_manifest(folder, MANIFEST)
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_newer_format_is_refused(tmp_path):
    changed(tmp_path, format_version=2)
    message = r"newer graphmerge @ .*: got format 2; wanted at most 1"
    with pytest.raises(CheckpointError, match=message):
        read_manifest(tmp_path)


def test_every_damaged_field_is_named(tmp_path):
    changed(tmp_path, seconds="long", tensors={"a": {"checksum": "00ff"}})
    with pytest.raises(CheckpointError) as caught:
        read_manifest(tmp_path)
    text = str(caught.value)
    assert "$.seconds" in text
    assert "$.tensors['a']" in text
    assert str(tmp_path / MANIFEST_NAME) in text


def test_text_that_is_not_json_is_refused(tmp_path):
    (tmp_path / MANIFEST_NAME).write_text("{")
    with pytest.raises(CheckpointError, match=r"invalid JSON @ .*graphmerge\.json"):
        read_manifest(tmp_path)
