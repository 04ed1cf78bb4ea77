"""Synthetic checkpoints are what transformers, safetensors and tokenizers take them for."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from graphmerge.checkpoint import read_checkpoint
from graphmerge.errors import InputError
from graphmerge.spec import DType
from graphmerge.testing import chunks
from graphmerge.testing.byte_tokenizer import write_tokenizer
from graphmerge.testing.checkpoints import write_base, write_fine_tune, write_header_only
from graphmerge.testing.float_bytes import decode, encode
from graphmerge.testing.llama_shapes import DEMO, LLAMA_0_1B, LLAMA_1_1B, LLAMA_7B, LLAMA_70B, TINY


def load(folder):
    tensors = {}
    for file in read_checkpoint(folder).files:
        tensors |= safetensors.torch.load_file(file)
    return tensors


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (DEMO, 51_786_240),
        (LLAMA_0_1B, 100_449_920),
        (LLAMA_1_1B, 1_100_048_384),
        (LLAMA_7B, 6_738_415_616),
        (LLAMA_70B, 68_976_648_192),
    ],
)
def test_presets_have_the_published_sizes(shape, parameters):
    assert shape.parameters == parameters


def test_transformers_loads_the_model(tmp_path):
    write_base(tmp_path, TINY, seed=0)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    loaded, stored = model.state_dict(), load(tmp_path)
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[name], stored[name]) for name in stored)
    assert model(torch.tensor([[1, 5, 9]])).logits.shape == (1, 3, TINY.vocabulary)


def test_tokenizers_load_and_round_trip(tmp_path):
    assert write_tokenizer(tmp_path, extra_tokens=["<tool>"]) == 260
    text = "Grüße, 世界!\n<tool>\x00"
    for tokenizer in (
        Tokenizer.from_file(str(tmp_path / "tokenizer.json")),
        AutoTokenizer.from_pretrained(tmp_path),
    ):
        ids = tokenizer.encode(text)
        ids = ids if isinstance(ids, list) else ids.ids
        assert ids[-2:] == [259, 3]  # the extra token, then byte 0
        assert tokenizer.decode(ids) == text


def test_weights_are_gaussian_and_norms_around_one(tmp_path):
    write_base(tmp_path, TINY, seed=0, dtype="F32")
    tensors = load(tmp_path)
    assert tensors["lm_head.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    assert abs(tensors["lm_head.weight"].mean().item()) < 0.001
    assert tensors["model.norm.weight"].mean().item() == pytest.approx(1, abs=0.02)
    assert not torch.equal(
        tensors["model.layers.0.mlp.up_proj.weight"], tensors["model.layers.1.mlp.up_proj.weight"]
    )


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
def test_fine_tune_is_base_plus_noise_rounded_once(tmp_path, dtype):
    write_base(tmp_path / "base", TINY, seed=0, dtype=dtype, max_shard_bytes=100_000)
    write_fine_tune(tmp_path / "tune", tmp_path / "base", seed=0, scale=0.01)
    base, tune = load(tmp_path / "base"), load(tmp_path / "tune")
    names = [
        sorted(path.name for path in (tmp_path / model).iterdir()) for model in ("base", "tune")
    ]
    assert names[0] == names[1]
    delta = torch.cat([(tune[name].double() - base[name].double()).flatten() for name in base])
    assert delta.std().item() == pytest.approx(0.01, rel=0.02)
    flat = torch.cat([base[name].double().flatten() for name in base])
    assert abs(torch.corrcoef(torch.stack([flat, delta]))[0, 1]) < 0.02


def test_bytes_depend_on_the_seed_and_on_no_shard_size(tmp_path, monkeypatch):
    write_base(tmp_path / "a", TINY, seed=0)
    write_base(tmp_path / "b", TINY, seed=0, max_shard_bytes=10_000)
    write_base(tmp_path / "c", TINY, seed=1)
    a, b, c = (load(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a)
    monkeypatch.setattr(chunks, "_CHUNK_ELEMENTS", 1000)  # tensors of several chunks, one partial
    write_base(tmp_path / "d", TINY, seed=0)
    d = load(tmp_path / "d")["lm_head.weight"].flatten()
    assert torch.equal(d[:1000], a["lm_head.weight"].flatten()[:1000])
    assert d.unique().numel() > 1000


def test_tied_model_has_no_head(tmp_path):
    write_base(tmp_path, evolve(TINY, tied=True), seed=0)
    assert "lm_head.weight" not in load(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_header_only_takes_no_space(tmp_path):
    write_header_only(tmp_path, LLAMA_70B)
    checkpoint = read_checkpoint(tmp_path)
    sizes = [file.stat().st_size for file in checkpoint.files]
    assert sum(sizes) > 2 * LLAMA_70B.parameters
    assert max(sizes) < 4.1 * 2**30
    assert sum(file.stat().st_blocks * 512 for file in checkpoint.files) < 2**20
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 2 * LLAMA_70B.parameters


@example([1 + 2**-8, 1 + 3 * 2**-8])  # half-way between two bfloat16, below and above an even one
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_bfloat16_rounds_as_torch_does(values):
    array = np.array(values, np.float32)
    expected = torch.from_numpy(array.copy()).bfloat16()
    data = encode(array, DType.BF16).tobytes()
    assert data == expected.view(torch.int16).numpy().tobytes()
    assert np.array_equal(decode(data, DType.BF16), expected.float().numpy())


def test_integers_cannot_be_random(tmp_path):
    with pytest.raises(InputError, match="no values for this dtype: got I8; wanted BF16, F16"):
        write_base(tmp_path, TINY, seed=0, dtype="I8")
