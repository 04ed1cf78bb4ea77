"""How adapters are named, what is said of those that cannot be used, and what is kept of them."""

import json
import shutil

import pytest
import torch
from adapter_models import write_adapter, write_llama
from safetensors.torch import load_file, save_file

import graphmerge as gm
from graphmerge.errors import CheckpointError, InputError, OutputError
from graphmerge.output.manifest import read_manifest
from graphmerge.pipeline import check_output
from graphmerge.schedule.executors import Kernels
from graphmerge.schedule.report import report
from graphmerge.testing.byte_tokenizer import write_tokenizer
from graphmerge.testing.merging import compile_mapping, merge, plan_for
from graphmerge.testing.stored_models import read_model

TOKENS = 4100
"""Rows of the embedding, which is of several tiles then."""
TIES = {
    "merge_method": "ties",
    "base_model": "base",
    "models": [
        {"model": "base+first", "parameters": {"weight": 0.6, "density": 0.5}},
        {"model": {"model": "base", "lora": "second"}, "parameters": {"density": 0.8}},
    ],
    "parameters": {"weight": 0.5},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    write_llama(root / "base", dtype=torch.bfloat16, vocab_size=TOKENS)
    targets = ["q_proj", "down_proj", "embed_tokens"]
    write_adapter(root / "first", root / "base", target_modules=targets)
    write_adapter(root / "second", root / "base", target_modules="all-linear", seed=2)
    return root


@pytest.fixture
def folder(models, tmp_path):
    """Copies, to be changed."""
    return shutil.copytree(models, tmp_path / "models")


def passthrough(model):
    return {"merge_method": "passthrough", "models": [{"model": model}]}


def change_config(adapter, **settings):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def change_tensors(adapter, **changes):
    path = adapter / "adapter_model.safetensors"
    save_file(load_file(path) | changes, path)


def problems(folder, model="base+first", error=CheckpointError):
    with pytest.raises(error) as raised:
        compile_mapping(passthrough(model), folder / "recipe.yml")
    return str(raised.value)


@pytest.mark.parametrize("how", ["text", "mapping", "alone", "python"])
def test_every_way_to_name_an_adapter_gives_the_same(folder, how):
    change_config(folder / "first", base_model_name_or_path=str(folder / "base"))
    wanted = merge(passthrough("base+first"), folder / "wanted").tensors()
    out = folder / "out"
    if how == "python":
        gm.load(f"{folder}/base+{folder}/first").save(out)
    else:
        names = {"text": "base+first", "mapping": {"model": "base", "lora": "first"}}
        merge(passthrough(names.get(how, "first")), out)
    got = read_model(out)
    assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items())
    assert got.keys() == wanted.keys()


def test_an_adapter_alone_without_its_base_says_how_to_write_it(folder):
    change_config(folder / "first", base_model_name_or_path="org/nowhere-to-be-found")
    told = problems(folder, "first", InputError)
    assert "org/nowhere-to-be-found" in told
    assert "write BASE+first" in told


def test_the_same_bytes_whatever_the_plan(models, tmp_path):
    for name in ("base", "first", "second"):
        (tmp_path / name).symlink_to(models / name)
    wanted = merge(TIES, tmp_path / "wanted").tensors()
    plans = [
        {"workers": 2},
        {"budget_bytes": None},
        {"tile_elements": 65536},
        {"kernels": Kernels.TORCH},
    ]
    for number, limits in enumerate(plans):
        got = merge(TIES, tmp_path / f"out{number}", **limits).tensors()
        for name, tensor in wanted.items():
            assert torch.equal(got[name].view(torch.uint8), tensor.view(torch.uint8)), (
                limits,
                name,
            )


def test_a_method_over_adapters_is_that_over_merged_models(models, tmp_path):
    for name in ("base", "first", "second"):
        (tmp_path / name).symlink_to(models / name)
    for name in ("first", "second"):
        recipe = passthrough(f"base+{name}") | {"out_dtype": "float32"}
        merge(recipe, tmp_path / f"merged-{name}")
    stored = TIES | {
        "models": [
            own | {"model": f"merged-{name}"}
            for own, name in zip(TIES["models"], ("first", "second"), strict=True)
        ],
        "out_dtype": "bfloat16",
    }
    wanted = merge(stored, tmp_path / "wanted").tensors()
    got = merge(TIES, tmp_path / "out").tensors()
    assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items())


REFUSED = {
    "LOHA": {"peft_type": "LOHA"},
    "DoRA": {"use_dora": True},
    "a variant of LoRA": {"use_newest_trick": True},
    "activated LoRA": {"alora_invocation_tokens": [1, 2]},
    "base model that PEFT changes": {"init_lora_weights": "pissa_niter_4"},
    "not a rank": {"r": 0},
    "not a number": {"alpha_pattern": {"q_proj": "much"}},
    "not a regular expression": {"rank_pattern": {"(": 2}},
    "the rank is not that of the config": {"r": 5},
}


@pytest.mark.parametrize("what", REFUSED)
def test_settings_that_cannot_be_computed_are_refused(folder, what):
    change_config(folder / "first", **REFUSED[what])
    told = problems(folder)
    assert what in told
    assert str(folder / "first") in told


def test_every_tensor_that_does_not_fit_is_named(folder):
    prefix = "base_model.model.model.layers"
    change_tensors(
        folder / "first",
        **{
            f"{prefix}.7.self_attn.q_proj.lora_A.weight": torch.zeros(4, 32),
            f"{prefix}.7.self_attn.q_proj.lora_B.weight": torch.zeros(32, 4),
            f"{prefix}.0.self_attn.q_proj.lora_A.weight": torch.zeros(4, 31),
            "base_model.model.model.extra.weight": torch.zeros(3),
        },
    )
    told = problems(folder)
    assert "no tensor model.layers.7.self_attn.q_proj.weight" in told
    assert "A [4, 31] and B [32, 4] for BF16[32, 32]" in told
    assert "no tensor model.extra.weight" in told


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("q_proj.lora_magnitude_vector", "DoRA is not computed"),
        ("q_proj.lora_C.weight", "unknown kind"),
        ("q_proj.hada_w1_a", "unknown kind"),
        ("k_proj.lora_A.weight", "are no pair"),
    ],
)
def test_unknown_tensors_are_refused(folder, name, what):
    full = f"base_model.model.model.layers.0.self_attn.{name}"
    change_tensors(folder / "first", **{full: torch.zeros(4, 4)})
    told = problems(folder)
    assert what in told
    assert full in told


def test_adding_to_a_tied_head_is_refused(folder):
    base = write_llama(folder / "tied", tie_word_embeddings=True)
    write_adapter(folder / "head", base, target_modules=["lm_head"])
    assert "lm_head.weight is tied to model.embed_tokens.weight" in problems(folder, "tied+head")


def test_a_head_that_the_adapter_brings_unties_the_model(folder):
    base = write_llama(folder / "tied", tie_word_embeddings=True)
    write_adapter(folder / "head", base, target_modules=["q_proj"])
    head = torch.randn(96, 32)
    change_tensors(folder / "head", **{"base_model.model.lm_head.weight": head})
    change_config(folder / "head", modules_to_save=["lm_head"])
    out = merge(passthrough("tied+head"), folder / "out")
    assert torch.equal(out.tensors()["lm_head.weight"], head)
    assert json.loads((out.out / "config.json").read_text())["tie_word_embeddings"] is False


def test_a_vocabulary_that_has_grown_brings_its_tokenizer(folder):
    write_tokenizer(folder / "base")
    shutil.copyfile(folder / "base" / "tokenizer.json", folder / "first" / "tokenizer.json")
    marked = (folder / "first" / "tokenizer.json").read_text() + "\n"
    (folder / "first" / "tokenizer.json").write_text(marked)
    grown = {
        f"base_model.model.{name}.weight": torch.randn(TOKENS + 4, 32)
        for name in ("model.embed_tokens.base_layer", "lm_head")
    }
    adapter = load_file(folder / "first" / "adapter_model.safetensors")
    a = "base_model.model.model.embed_tokens.lora_embedding_A"
    change_tensors(folder / "first", **grown, **{a: torch.cat((adapter[a], adapter[a][:, :4]), 1)})
    out = merge(passthrough("base+first"), folder / "out")
    assert out.tensors()["model.embed_tokens.weight"].shape == (TOKENS + 4, 32)
    assert json.loads((out.out / "config.json").read_text())["vocab_size"] == TOKENS + 4
    assert (out.out / "tokenizer.json").read_text() == marked


def test_the_adapter_counts_as_an_input(folder):
    recipe = passthrough("base+first")
    compiled = compile_mapping(recipe, folder / "recipe.yml")
    with pytest.raises(OutputError, match="share a folder"):
        check_output(compiled, folder / "first" / "out", overwrite=False)
    before = compiled.fingerprints()
    change_config(folder / "first", lora_alpha=3)
    assert compile_mapping(recipe, folder / "recipe.yml").fingerprints() != before
    out = merge(recipe, folder / "out").out
    (taken,) = read_manifest(out).inputs
    assert taken.reference == "base+first"
    assert taken.path == f"{folder / 'base'}+{folder / 'first'}"


def test_plans_tell_what_is_read_and_leave_nothing_out(models, tmp_path):
    for name in ("base", "first"):
        (tmp_path / name).symlink_to(models / name)
    compiled = compile_mapping(passthrough("base+first"), tmp_path / "recipe.yml")
    assert not compiled.build.graph.omissions
    plan = plan_for(compiled)
    (taken,) = report(plan, shards=1).inputs
    assert taken.model == "base+first"
    assert {file.rsplit("/", 1)[-1] for file in taken.files} == {
        "model.safetensors",
        "adapter_model.safetensors",
    }


def test_names_of_a_part_of_the_model_are_found(folder):
    path = folder / "first" / "adapter_model.safetensors"
    cut = {
        name.replace("base_model.model.model.", "base_model.model."): tensor
        for name, tensor in load_file(path).items()
    }
    wanted = merge(passthrough("base+first"), folder / "wanted").tensors()
    save_file(cut, path)
    got = merge(passthrough("base+first"), folder / "out").tensors()
    assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items())
