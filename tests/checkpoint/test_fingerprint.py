"""A fingerprint changes with whatever may change the merge, and with nothing else."""

import json
import os
import shutil

import pytest

from graphmerge.checkpoint import fingerprint, read_checkpoint
from graphmerge.testing.checkpoints import write_base
from graphmerge.testing.llama_shapes import TINY


@pytest.fixture
def folder(tmp_path):
    write_base(tmp_path / "model", TINY, seed=0)
    return tmp_path / "model"


def test_same_files_same_fingerprint(folder, tmp_path):
    """Reading the weights or moving the folder changes nothing."""
    before = fingerprint(read_checkpoint(folder))
    assert len(before) == 16
    (folder / "model.safetensors").read_bytes()
    shutil.copytree(folder, tmp_path / "copy")  # copytree keeps the modification times
    assert fingerprint(read_checkpoint(folder)) == before
    assert fingerprint(read_checkpoint(tmp_path / "copy")) == before


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_touched_file_changes_it(folder, name):
    before = fingerprint(read_checkpoint(folder))
    os.utime(folder / name, ns=(0, 1))
    assert fingerprint(read_checkpoint(folder)) != before


def test_longer_or_renamed_side_file_changes_it(folder):
    os.utime(folder / "tokenizer.json", ns=(0, 0))
    first = fingerprint(read_checkpoint(folder))
    (folder / "tokenizer.json").rename(folder / "tokenizer_2.json")
    second = fingerprint(read_checkpoint(folder))
    with (folder / "tokenizer_2.json").open("a") as stream:
        stream.write(" ")
    os.utime(folder / "tokenizer_2.json", ns=(0, 0))
    assert len({first, second, fingerprint(read_checkpoint(folder))}) == 3


def test_index_changes_it(tmp_path):
    write_base(tmp_path, TINY, seed=0, max_shard_bytes=50_000)
    before = fingerprint(read_checkpoint(tmp_path))
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    del content["weight_map"]["model.norm.weight"]
    index.write_text(json.dumps(content))
    assert fingerprint(read_checkpoint(tmp_path)) != before


def test_config_changes_it(folder):
    before = fingerprint(read_checkpoint(folder))
    config = folder / "config.json"
    config.write_text(config.read_text().replace("2048", "4096"))
    assert fingerprint(read_checkpoint(folder)) != before


def test_header_changes_it_though_size_and_time_stay(folder):
    file = folder / "model.safetensors"
    os.utime(file, ns=(0, 0))
    before = fingerprint(read_checkpoint(folder))
    file.write_bytes(file.read_bytes().replace(b'"shape":[320,32]', b'"shape":[32,320]'))
    os.utime(file, ns=(0, 0))
    assert fingerprint(read_checkpoint(folder)) != before


def test_no_tensor_data_is_read(folder):
    file = folder / "model.safetensors"
    os.utime(file, ns=(0, 0))
    before = fingerprint(read_checkpoint(folder))
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    os.utime(file, ns=(0, 0))
    assert fingerprint(read_checkpoint(folder)) == before
