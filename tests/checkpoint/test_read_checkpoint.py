"""Which files of a folder are the model, and what is refused."""

import json
import os
import random
import shutil

import pytest

from graphmerge.checkpoint import find_layers, read_checkpoint
from graphmerge.errors import CheckpointError, MachineError
from graphmerge.spec import DType, TensorSpec
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import LLAMA_70B, TINY
from graphmerge.testing.sparse_files import create_file

SPEC = TensorSpec((2, 3), DType.BF16)


def create(file, *names):
    file.parent.mkdir(parents=True, exist_ok=True)
    create_file(file, dict.fromkeys(names, SPEC))


def write_index(folder, weight_map, name="model.safetensors.index.json"):
    (folder / name).write_text(json.dumps({"weight_map": weight_map}))


@pytest.fixture
def sharded(tmp_path):
    """Tensors a and b in one shard, c in another, and an index that lists them all."""
    create(tmp_path / "one.safetensors", "a", "b")
    create(tmp_path / "two.safetensors", "c")
    write_index(tmp_path, {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"})
    return tmp_path


def test_single_file_folder(tmp_path):
    create(tmp_path / "model.safetensors", "layers.10.w", "layers.2.w", "layers.2.a", "embed")
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 2}')
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.path == tmp_path
    assert list(checkpoint.tensors) == ["embed", "layers.2.a", "layers.2.w", "layers.10.w"]
    assert checkpoint.config == {"num_hidden_layers": 2}
    assert checkpoint.files == (tmp_path / "model.safetensors",)
    assert checkpoint.unlisted == ()


def test_one_file_with_config_and_tokenizer_beside_it(tmp_path):
    create(tmp_path / "weights.safetensors", "a")
    create(tmp_path / "model.safetensors", "b")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "tokenizer.json").touch()
    checkpoint = read_checkpoint(tmp_path / "weights.safetensors")
    assert list(checkpoint.tensors) == ["a"]
    assert checkpoint.config == {"model_type": "llama"}
    assert checkpoint.side_files == (tmp_path / "tokenizer.json",)


def test_no_config_is_an_empty_config(tmp_path):
    create(tmp_path / "model.safetensors", "a")
    assert read_checkpoint(tmp_path).config == {}


def test_shards_of_an_index(sharded):
    checkpoint = read_checkpoint(sharded)
    assert list(checkpoint.tensors) == ["a", "b", "c"]
    assert checkpoint.tensors["c"].file == sharded / "two.safetensors"
    assert [file.name for file in checkpoint.files] == ["one.safetensors", "two.safetensors"]


def test_checkpoints_share_what_equal_files_say(sharded, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for file in sharded.iterdir():
        shutil.copy(file, other)
    first, second = read_checkpoint(sharded), read_checkpoint(other)
    assert all(one is two for one, two in zip(first.shared, second.shared, strict=True))
    assert first.names is second.names
    assert {entry.file.parent for entry in second.tensors.values()} == {other}
    create(other / "two.safetensors", "d")
    with pytest.raises(CheckpointError, match="1 tensors of the index are not in their file"):
        read_checkpoint(other)
    write_index(other, {"a": "one.safetensors", "d": "two.safetensors"})
    assert list(read_checkpoint(other).tensors) == ["a", "d"]


def test_index_under_another_name(tmp_path):
    create(tmp_path / "part.safetensors", "a")
    write_index(tmp_path, {"a": "part.safetensors"}, "diffusion.safetensors.index.json")
    assert list(read_checkpoint(tmp_path).tensors) == ["a"]
    write_index(tmp_path, {"a": "part.safetensors"}, "other.safetensors.index.json")
    with pytest.raises(CheckpointError, match=r"several indexes"):
        read_checkpoint(tmp_path)
    write_index(tmp_path, {"b": "part.safetensors"})
    create(tmp_path / "part.safetensors", "b")
    assert list(read_checkpoint(tmp_path).tensors) == ["b"]


def test_what_the_index_leaves_out_is_reported(sharded):
    create(sharded / "stale.safetensors", "a", "z")
    create(sharded / "two.safetensors", "b", "c", "extra")
    checkpoint = read_checkpoint(sharded)
    assert list(checkpoint.tensors) == ["a", "b", "c"]
    assert checkpoint.tensors["b"].file.name == "one.safetensors"
    left_out = ("stale.safetensors", "two.safetensors: b", "two.safetensors: extra")
    assert checkpoint.unlisted == left_out


def test_single_file_wins_over_index(sharded):
    create(sharded / "model.safetensors", "single")
    checkpoint = read_checkpoint(sharded)
    assert list(checkpoint.tensors) == ["single"]
    assert checkpoint.unlisted == ("one.safetensors", "two.safetensors")


def test_files_without_index_are_united(tmp_path):
    create(tmp_path / "one.safetensors", "a")
    create(tmp_path / "two.safetensors", "b")
    assert list(read_checkpoint(tmp_path).tensors) == ["a", "b"]
    create(tmp_path / "two.safetensors", "a")
    with pytest.raises(CheckpointError, match=r"'a' in two files @ .*two\S+: got one.safetensors"):
        read_checkpoint(tmp_path)


def test_half_a_set_of_shards_is_no_model(tmp_path):
    create(tmp_path / "model-00001-of-00003.safetensors", "a")
    with pytest.raises(CheckpointError, match=r"2 of 3 shards are missing"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["../x.safetensors", "/x.safetensors", "a/../../x.safetensors"])
def test_index_must_not_leave_its_folder(tmp_path, name):
    folder = tmp_path / "model"
    create(folder / "one.safetensors", "a")
    (folder / "a").mkdir()
    create(tmp_path / "x.safetensors", "a")
    write_index(folder, {"a": name, "b": "..\\x.safetensors", "c": "C:\\x.safetensors"})
    with pytest.raises(CheckpointError, match=r"the index leaves its folder") as caught:
        read_checkpoint(folder)
    assert [problem.got for problem in caught.value.problems] == sorted(
        [repr(name), repr("..\\x.safetensors"), repr("C:\\x.safetensors")]
    )


def test_links_out_of_the_folder_are_followed(tmp_path):
    """So the cache of huggingface_hub looks: snapshots are links to blobs."""
    create(tmp_path / "blobs" / "0123.safetensors", "a")
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "one.safetensors").symlink_to("../blobs/0123.safetensors")
    write_index(folder, {"a": "one.safetensors"})
    assert read_checkpoint(folder).tensors["a"].file == folder / "one.safetensors"


def test_every_missing_shard_is_named(sharded):
    (sharded / "one.safetensors").unlink()
    (sharded / "two.safetensors").unlink()
    (sharded / "two.safetensors").symlink_to("nowhere")
    with pytest.raises(CheckpointError, match=r"missing shard @ .*one(.|\n)*shard @ .*two"):
        read_checkpoint(sharded)


def test_every_tensor_that_its_shard_lacks_is_named(sharded):
    create(sharded / "one.safetensors", "other")
    message = r"2 tensors of the index are not in their file @ .*one\S+: got a, b"
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(sharded)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "invalid JSON @ .*index.json"),
        ("[]", "not a JSON object @ .*index.json: got list"),
        ("{}", "no weight_map"),
        ('{"weight_map": {}}', "no weight_map"),
        ('{"weight_map": {"a": 3}}', "not a safetensors file in the index @ .*: got '3'"),
        ('{"weight_map": {"a": "evil.bin"}}', "not a safetensors file in the index"),
    ],
)
def test_broken_indexes_are_refused(sharded, text, message):
    (sharded / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(sharded)


@pytest.mark.parametrize("text", ["{", "\udcff", "[" * 100_000])
def test_broken_config_is_refused(tmp_path, text):
    create(tmp_path / "model.safetensors", "a")
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CheckpointError, match=r"invalid JSON @ .*config.json"):
        read_checkpoint(tmp_path)


def test_folders_without_weights_are_refused(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"no safetensors or torch files @ .*: got an empty folder"
    ):
        read_checkpoint(tmp_path)
    for number in range(12):
        (tmp_path / f"{number:02}.txt").touch()
    with pytest.raises(CheckpointError, match=r"got 00.txt, 01.txt, .*, 09.txt and 2 more"):
        read_checkpoint(tmp_path)


def test_paths_that_are_no_checkpoint_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no such model @ .*missing"):
        read_checkpoint(tmp_path / "missing")
    (tmp_path / "model.gguf").touch()
    with pytest.raises(CheckpointError, match=r"not a safetensors or torch file @ .*model\.gguf"):
        read_checkpoint(tmp_path / "model.gguf")


def test_file_name_too_long_is_the_machine_s_fault(tmp_path):
    with pytest.raises(MachineError, match=r"cannot read @ .*: got File name too long"):
        read_checkpoint(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads what nobody may read")
def test_forbidden_file_is_the_machine_s_fault(tmp_path):
    create(tmp_path / "model.safetensors", "a")
    (tmp_path / "model.safetensors").chmod(0)
    with pytest.raises(MachineError, match=r"cannot read @ .*model\.safetensors: got Permission"):
        read_checkpoint(tmp_path)


def test_side_files_are_all_but_weights_config_and_readme(tmp_path):
    create(tmp_path / "model.safetensors", "a")
    side = ["additional_chat_templates/tool.jinja", "chat_template.jinja", "generation_config.json"]
    side += ["merges.txt", "modeling_odd.py", "preprocessor_config.json", "qwen.tiktoken"]
    side += ["tekken.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"]
    side += ["video_preprocessor_config.json", "vocab.json"]
    (tmp_path / "additional_chat_templates").mkdir()
    other = ["README.md", "config.json", "trainer_state.json", "optimizer.pt", "merge.yaml"]
    for name in random.Random(0).sample(side + other, len(side + other)):
        (tmp_path / name).write_text("{}")
    assert read_checkpoint(tmp_path).side_files == tuple(tmp_path / name for name in side)


def test_a_model_of_70b_is_read_from_its_headers(tmp_path):
    write_header_only(tmp_path / "model", LLAMA_70B)
    checkpoint = read_checkpoint(tmp_path / "model")
    layout = find_layers(checkpoint.tensors, checkpoint.config)
    assert len(checkpoint.tensors) == 723
    assert layout.stacks[0].count == 80


def test_tensors_and_config_cannot_be_changed(tmp_path):
    write_header_only(tmp_path, TINY)
    checkpoint = read_checkpoint(tmp_path)
    with pytest.raises(TypeError):
        checkpoint.tensors["new"] = None
    with pytest.raises(TypeError):
        checkpoint.config["new"] = None
