import json

import pytest
import torch
from hub_server import TOKEN, folder_files

import graphmerge as gm
from graphmerge import hub as graphmerge_hub
from graphmerge.checkpoint import fingerprint
from graphmerge.compilation import compile_recipe
from graphmerge.errors import InputError
from graphmerge.output import read_manifest
from graphmerge.places import read_named
from graphmerge.testing.adapters import write_adapter
from graphmerge.testing.checkpoints import write_base
from graphmerge.testing.llama_shapes import TINY, LlamaShape
from graphmerge.testing.stored_models import read_model, weights_digest, write_model

WIDER = LlamaShape(4, 32, 64, vocabulary=384, heads=4, kv_heads=2)


def set_base(adapter, name):
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": name})
    )


def test_python_loads_computes_and_saves(three, models):
    name = f"{three.organisation}/base"
    merged = gm.weighted_sum([gm.load(name), gm.load(f"{three.organisation}/code@main")])
    assert three.hub.total_bytes(".safetensors") < 500_000
    assert f"{name}@main" in str(merged.plan(memory_budget="1GiB"))
    local = gm.weighted_sum([gm.load(models / "base"), gm.load(models / "code")])
    norm = "model.norm.weight"
    assert torch.equal(merged.tensor(norm), local.tensor(norm))
    merged.save(three.path / "out")
    local.save(three.path / "from-folders")
    assert weights_digest(three.path / "out") == weights_digest(three.path / "from-folders")
    first, _ = read_manifest(three.path / "out").inputs
    assert first.revision == three.commits["base"]


def test_a_fingerprint_is_that_of_the_commit(three):
    """Downloading changes nothing; another commit does, even where all headers are the same."""
    name = f"{three.organisation}/chat"
    before = read_named(name)
    known = fingerprint(before)
    graphmerge_hub.download((before.origin, file) for file in before.files)
    assert all(file.is_symlink() for file in before.files)
    assert fingerprint(before) == known
    repository = three.hub.repositories[name]
    files = dict(repository.commits[three.commits["chat"]])
    last = max(file for file in files if file.endswith(".safetensors"))
    files[last] = files[last][:-1] + bytes([files[last][-1] ^ 1])
    repository.commit(files, branch="next")
    assert fingerprint(read_named(f"{name}@next")) != known


def test_an_adapter_of_the_hub_is_added_to_a_model_of_the_hub(three, models):
    write_adapter(three.path / "adapter", models / "base", rank=4, seed=0)
    set_base(three.path / "adapter", f"{three.organisation}/base")
    commit = three.add("adapter", three.path / "adapter")
    base, adapter = (f"{three.organisation}/{name}" for name in ("base", "adapter"))
    both, alone = gm.load(f"{base}+{adapter}@main"), gm.load(adapter)
    three.hub.sent_bytes.clear()
    local = gm.load(f"{models / 'base'}+{three.path / 'adapter'}")
    name = "model.layers.1.mlp.up_proj.weight"
    wanted = local.tensor(name)
    assert not torch.equal(wanted, gm.load(models / "base").tensor(name))
    assert torch.equal(both.tensor(name), wanted)
    assert torch.equal(alone.tensor(name), wanted)
    assert set(three.hub.sent_bytes) & {"adapter_model.safetensors"}
    both.save(three.path / "out")
    (one,) = read_manifest(three.path / "out").inputs
    assert one.revision == f"{three.commits['base']}+{commit}"


def test_adapters_are_merged_and_extracted_from_the_hub(three, models, invoke):
    """The same bytes as from folders."""
    write_adapter(three.path / "adapter", models / "base", rank=4, seed=0)
    three.add("adapter", three.path / "adapter")
    for out, name in (("a", "adapter"), ("b", f"{three.organisation}/adapter")):
        assert invoke("merge-lora", out, name, name, "--weight", 1, "--weight", 2).exit_code == 0
    assert weights_digest(three.path / "a") == weights_digest(three.path / "b")
    for out, folder in (("c", models), ("d", three.organisation)):
        options = ("--rank", 2, "--modules", "layers.0.mlp.up")
        result = invoke("extract-lora", f"{folder}/code", f"{folder}/base", out, *options)
        assert result.exit_code == 0, result.output
    assert weights_digest(three.path / "c") == weights_digest(three.path / "d")


def test_an_adapter_says_of_which_revision_its_base_is(three, models, invoke):
    """The base that an adapter is extracted from is the one that it is added to, when alone."""
    name = f"{three.organisation}/base"
    repository = three.hub.repositories[name]
    repository.commit(folder_files(models / "chat"), branch="other")
    options = ("--rank", 2, "--modules", "layers.0.mlp.up")
    result = invoke("extract-lora", models / "code", f"{name}@other", "out", *options)
    assert result.exit_code == 0, result.output
    config = json.loads((three.path / "out" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (name, "other")
    fine_tune, base = read_manifest(three.path / "out").inputs
    assert (fine_tune.revision, base.revision) == (None, repository.branches["other"])
    assert base.path == f"hf://{name}@{base.revision}"
    card = (three.path / "out" / "README.md").read_text()
    assert f"base_model: {name}\n" in card
    norm = "model.norm.weight"
    of_chat = gm.load(models / "chat").tensor(norm)
    assert torch.equal(gm.load(three.path / "out").tensor(norm), of_chat)
    assert not torch.equal(gm.load(models / "base").tensor(norm), of_chat)


def test_tokenizers_are_fetched_where_vocabularies_differ(place):
    """The files prove that the common ids mean the same tokens, so rows are cropped."""
    for name, shape in (("small", TINY), ("wide", WIDER)):
        write_base(place.path / name, shape, seed=0)
        place.add(name, place.path / name)
    small, wide = (f"{place.organisation}/{name}" for name in ("small", "wide"))
    models = [{"model": name, "parameters": {"weight": 0.5}} for name in (small, wide)]
    alike = [{"model": small, "parameters": {"weight": 0.5}}] * 2
    compile_recipe(place.write("alike.yml", {"merge_method": "linear", "models": alike}))
    assert "tokenizer.json" not in place.hub.sent_bytes
    recipe = {"merge_method": "linear", "models": models}
    compiled = compile_recipe(place.write("differ.yml", recipe))
    assert place.hub.sent_bytes["tokenizer.json"] > 0
    (note,) = compiled.build.graph.notes
    assert "embeddings: cropped to 320 rows, as the tokenizer files say" in note


def test_tokenizers_are_fetched_for_a_chat_template(three):
    names = [f"{three.organisation}/{name}" for name in ("base", "code")]
    models = [{"model": name, "parameters": {"weight": 0.5}} for name in names]
    recipe = {"merge_method": "linear", "models": models, "chat_template": "auto"}
    compile_recipe(three.write("chat.yml", recipe))
    assert "tokenizer_config.json" in three.hub.sent_bytes


def test_components_of_a_pipeline_are_planned_from_their_headers(place):
    folder = place.path / "pipeline"
    parts = {"unet": "UNet2DModel", "vae": "AutoencoderKL"}
    for name in parts:
        write_model(folder / name, {"conv.weight": torch.ones(64, 1024)}, config={})
    index = {name: ["diffusers", kind] for name, kind in parts.items()}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    place.add("pipeline", folder)
    name = f"{place.organisation}/pipeline"
    found = read_named(name)
    assert list(found.tensors) == ["unet/conv.weight", "vae/conv.weight"]
    assert place.hub.total_bytes(".safetensors") <= 2 * 64 * 1024
    with pytest.warns(UserWarning, match="no component states its number of layers"):
        gm.load(name).save(place.path / "out")
    assert read_model(place.path / "out" / "vae")["conv.weight"].sum() == 64 * 1024
    assert (place.path / "out" / "scheduler" / "scheduler_config.json").read_text() == "{}"


def test_a_token_that_is_set_later_is_heeded(place, models, monkeypatch):
    place.add("gated", models / "base", is_gated=True)
    reference = f"{place.organisation}/gated"
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(InputError, match="HF_TOKEN"):
        gm.load(reference)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert gm.load(reference)
