"""Command lines of mergekit-yaml, under `graphmerge run`."""

import filecmp

import pytest

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.cli import run as run_module
from graphmerge.cli.habits import HABITS
from graphmerge.testing.checkpoints import write_base
from graphmerge.testing.llama_shapes import LlamaShape

PUBLISHED = (
    "--cuda --no-cuda --copy-tokenizer --allow-crimes --out-shard-size 1B --lazy-unpickle "
    "--trust-remote-code --low-cpu-memory --random-seed 7 --clone-tensors -v -j 2 --no-quiet "
    "--write-model-card --safe-serialization --async-write --write-threads 4 --read-to-gpu "
    "--multi-gpu --lora-merge-cache /cache --lora-merge-dtype float32 --transformers-cache /cache"
)
"""Every option that mergekit-yaml has; what needs a GPU is taken back."""


def files(folder):
    return {file.name for file in folder.iterdir()}


def test_every_option_of_mergekit_is_accepted_and_gives_the_same_bytes(folder):
    folder.invoke("run", "ties.yml", "plain")
    result = folder.invoke("run", "ties.yml", "out", *PUBLISHED.split())
    assert result.exit_code == 0, result.stderr
    assert filecmp.cmp("plain/model.safetensors", "out/model.safetensors", shallow=False)
    assert "in 1 shard" in result.stdout  # 1B is a billion, not a byte


def test_what_has_no_effect_is_said_in_a_line_each(folder):
    given = ("--trust-remote-code", "--no-safe-serialization", "-vv", "--lora-merge-cache", "x")
    result = folder.invoke("run", "ties.yml", "out", *given)
    notes = [line.split(" has no effect: ")[0] for line in result.stderr.splitlines()]
    assert notes == [
        "note: --trust-remote-code",
        "note: --no-safe-serialization",
        "note: --lora-merge-cache",
        "note: --verbose",
    ]
    assert folder.invoke("run", "ties.yml", "quiet", *given, "--quiet").stderr == ""


def test_what_asks_for_nothing_is_not_told(folder):
    off = [habit.declaration.partition("/")[2] for habit in HABITS]
    given = [name or "" for name in off if name and "safe" not in name]
    assert folder.invoke("run", "ties.yml", "out", *given).stderr == ""


@pytest.mark.parametrize(
    ("given", "device"),
    [
        (["--cuda"], "cuda"),
        (["--gpu-rich"], "cuda"),
        (["--cuda", "--device", "cuda:1"], "cuda:1"),
        (["--no-cuda"], "cpu"),
        ([], "cpu"),
    ],
)
def test_cuda_is_a_device(folder, monkeypatch, given, device):
    asked = []
    monkeypatch.setattr(run_module.options, "check_device", lambda name, _: asked.append(name))
    monkeypatch.setattr(run_module, "make_plan", lambda *_, **__: 1 / 0)
    folder.invoke("run", "ties.yml", "out", *given)
    assert asked == [device]


def test_random_seed_is_the_seed(folder):
    dare = (folder.path / "ties.yml").read_text().replace("ties", "dare_ties")
    folder.write("dare.yml", dare)
    for out, seed in (("a", "--seed=7"), ("b", "--random-seed=7"), ("c", "--seed=8")):
        assert folder.invoke("run", "dare.yml", out, seed).exit_code == 0
    assert filecmp.cmp("a/model.safetensors", "b/model.safetensors", shallow=False)
    assert not filecmp.cmp("a/model.safetensors", "c/model.safetensors", shallow=False)


def test_tokenizer_and_card_can_be_left_out(folder):
    folder.invoke("run", "ties.yml", "all")
    result = folder.invoke(
        "run", "ties.yml", "bare", "--no-copy-tokenizer", "--no-write-model-card"
    )
    assert result.exit_code == 0
    left_out = {"tokenizer.json", "tokenizer_config.json", "README.md"}
    assert files(folder.path / "all") - files(folder.path / "bare") == left_out


def test_embeddings_are_cropped_where_the_recipe_says_nothing(folder):
    shape = LlamaShape(4, 32, 64, vocabulary=300, heads=4, kv_heads=2)
    write_base(folder.path / "second", shape, seed=2)
    (folder.path / "second" / "tokenizer.json").unlink()  # so that nothing proves the ids
    refused = folder.invoke("run", "ties.yml", "out")
    assert refused.exit_code == 2
    assert "embeddings: crop" in refused.stderr
    assert folder.invoke("run", "ties.yml", "out", "--unsafe-truncate-embeddings").exit_code == 0
    embedding = read_checkpoint(folder.path / "out").tensors["model.embed_tokens.weight"]
    assert embedding.spec.shape == (300, 32)


def test_a_recipe_that_speaks_of_embeddings_is_heard(folder):
    shape = LlamaShape(4, 32, 64, vocabulary=300, heads=4, kv_heads=2)
    write_base(folder.path / "second", shape, seed=2)
    ties = (folder.path / "ties.yml").read_text()
    folder.write("extend.yml", f"{ties}embeddings: extend\n")
    assert folder.invoke("run", "extend.yml", "out", "--unsafe-truncate-embeddings").exit_code == 0
    embedding = read_checkpoint(folder.path / "out").tensors["model.embed_tokens.weight"]
    assert embedding.spec.shape == (320, 32)
