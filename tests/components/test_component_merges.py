"""Models of several folders are merged component by component, and keep their layout."""

import json

import pytest
import torch
from component_models import (
    all_files,
    as_torch_files,
    write_pipeline,
    write_sentence_model,
    write_weights,
)
from safetensors.torch import load_file

from graphmerge.checkpoint import read_checkpoint
from graphmerge.checkpoint.summary import summarise
from graphmerge.errors import CheckpointError, GraphmergeError, OutputError
from graphmerge.output import verify
from graphmerge.pipeline import RunOptions, run
from graphmerge.testing.merging import Silent, StopAfter, compile_mapping, merge, plan_for
from graphmerge.testing.stored_models import flip_byte

WRITTEN = {"README.md", "graphmerge.json", "graphmerge_recipe.yml"}
HALVES = {"parameters": {"weight": 0.5}}
LINEAR = {"merge_method": "linear", "models": [{"model": "a", **HALVES}, {"model": "b", **HALVES}]}


def stored(root):
    """Every tensor of a folder, by the path of its component and its name."""
    found = {}
    for file in root.rglob("*.safetensors"):
        folder = file.parent.relative_to(root).as_posix()
        prefix = "" if folder == "." else f"{folder}/"
        found |= {prefix + name: tensor for name, tensor in load_file(file).items()}
    return found


@pytest.fixture(params=[write_pipeline, write_sentence_model])
def pair(request, tmp_path):
    return [request.param(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 50))]


@pytest.mark.usefixtures("pair")
def test_models_share_what_their_components_have_in_common(tmp_path):
    first, second = read_checkpoint(tmp_path / "a"), read_checkpoint(tmp_path / "b")
    headers = [one for one in first.shared if one is not None]
    assert len(headers) >= len(first.files)
    assert all(one is two for one, two in zip(first.shared, second.shared, strict=True))
    assert first.names is second.names


def test_every_component_is_merged_and_the_layout_stays(pair, tmp_path):
    merged = merge(LINEAR, tmp_path / "out", options=RunOptions(shard_bytes=60))
    assert not merged.plan.graph.omissions
    found = stored(tmp_path / "out")
    assert found.keys() == pair[0].keys() == pair[1].keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, (pair[0][name] + pair[1][name]) / 2)
    files, before = all_files(tmp_path / "out"), all_files(tmp_path / "a")
    weights = {name for name in before | files if ".safetensors" in name}
    assert files - weights == before - weights | WRITTEN
    for name in before - weights - WRITTEN:
        assert json.loads((tmp_path / "out" / name).read_text()) == json.loads(
            (tmp_path / "a" / name).read_text()
        )
    assert verify(tmp_path / "out").is_intact
    again = read_checkpoint(tmp_path / "out")
    assert again.tensors.keys() == found.keys()
    assert not again.unlisted
    assert set(summarise(again).files) == {name for name in files if name.endswith("safetensors")}


@pytest.mark.usefixtures("pair")
def test_components_that_exist_only_as_torch_files(tmp_path):
    """The output is that of safetensors files, under the same names."""
    wanted = merge(LINEAR, tmp_path / "wanted", options=RunOptions(shard_bytes=60)).out
    for name in ("a", "b"):
        as_torch_files(tmp_path / name)
        assert all(
            file.endswith(".bin") for file in summarise(read_checkpoint(tmp_path / name)).files
        )
    out = merge(LINEAR, tmp_path / "out", options=RunOptions(shard_bytes=60)).out
    assert all_files(out) == all_files(wanted)
    for file in out.rglob("*.safetensors"):
        assert file.read_bytes() == (wanted / file.relative_to(out)).read_bytes()
    assert verify(out).is_intact


def test_torch_files_of_a_component_have_notes_and_variants(tmp_path):
    write_pipeline(tmp_path / "a", 1, variant=".fp16")
    as_torch_files(tmp_path / "a")
    vae = tmp_path / "a" / "vae" / "diffusion_pytorch_model.fp16.bin"
    torch.save({"state_dict": torch.load(vae), "step": 3}, vae)
    found = read_checkpoint(tmp_path / "a")
    assert found.tensors["vae/encoder.conv_in.weight"].file == vae
    (note,) = found.notes
    assert note.startswith("vae/diffusion_pytorch_model.fp16.bin: the tensors are those under")
    write_weights(vae.with_name("diffusion_pytorch_model.safetensors"), {"x": torch.zeros(1)})
    both = read_checkpoint(tmp_path / "a")
    assert "vae/x" in both.tensors
    assert both.unlisted == ("vae/diffusion_pytorch_model.fp16.bin",)


def test_damage_in_a_component_is_found(tmp_path):
    for name, seed in (("a", 1), ("b", 50)):
        write_pipeline(tmp_path / name, seed)
    out = merge(LINEAR, tmp_path / "out", options=RunOptions(shard_bytes=60)).out
    (out / "unet" / "diffusion_pytorch_model.safetensors.index.json").unlink()
    write_weights(out / "vae" / "stale.safetensors", {"x": torch.zeros(1)})
    file = out / "vae" / "diffusion_pytorch_model.safetensors"
    flip_byte(file)
    report = verify(out)
    assert report.missing_files == ("unet/diffusion_pytorch_model.safetensors.index.json",)
    assert report.extra_files == ("vae/stale.safetensors",)
    assert report.changed_tensors == ("vae/encoder.conv_in.weight",)


def test_filters_modules_and_gradients_know_components(tmp_path):
    """The text encoder says that it has layers; the UNet is no stack of layers, and is t[0]."""
    first, second = (write_pipeline(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 50)))
    weights = [{"filter": "vae/", "value": 0}, {"value": [0, 0.5, 1]}]
    recipe = {
        "merge_method": "linear",
        "models": [{"model": "a", "parameters": {"weight": 1}}, {"model": "b"}],
        "parameters": {"normalize": False},
    }
    recipe["models"][1]["parameters"] = {"weight": weights}
    found = stored(merge(recipe, tmp_path / "out").out)
    for i, weight in enumerate((0, 0.5, 1)):
        name = f"text_encoder/text_model.encoder.layers.{i}.mlp.fc1.weight"
        torch.testing.assert_close(found[name], first[name] + weight * second[name])
    assert torch.equal(found["unet/conv_in.weight"], first["unet/conv_in.weight"])
    assert torch.equal(found["vae/encoder.conv_in.weight"], first["vae/encoder.conv_in.weight"])
    parts = {"merge_method": "linear", "base_model": "a", "modules": {"unet": LINEAR["models"]}}
    parts["modules"]["unet"] = {"models": LINEAR["models"]}
    merged = merge(parts, tmp_path / "parts")
    reasons = {out.name: out.reason for out in merged.plan.graph.outputs}
    assert {n for n, r in reasons.items() if not r} == {n for n in first if n.startswith("unet/")}


def test_layers_of_a_component_are_stacked(tmp_path):
    write_pipeline(tmp_path / "a", 1)
    spans = [{"sources": [{"model": "a", "layer_range": span}]} for span in ([0, 2], [1, 3])]
    recipe = {"merge_method": "passthrough", "modules": {"text_encoder": {"slices": spans}}}
    found = stored(merge(recipe, tmp_path / "out").out)
    layers = [name for name in found if ".layers." in name]
    assert len(layers) == 4
    config = json.loads((tmp_path / "out" / "text_encoder" / "config.json").read_text())
    assert config["num_hidden_layers"] == 4


def test_a_variant_counts_where_nothing_else_is(tmp_path):
    """The output has no variant: it loads without `variant=`."""
    first = write_pipeline(tmp_path / "a", 1, variant=".fp16")
    write_pipeline(tmp_path / "b", 50)
    assert read_checkpoint(tmp_path / "a").tensors.keys() == first.keys()
    merge(LINEAR, tmp_path / "out")
    assert not [name for name in all_files(tmp_path / "out") if "fp16" in name]
    plain = tmp_path / "a" / "vae" / "diffusion_pytorch_model.safetensors"
    write_weights(plain, {"encoder.conv_in.weight": torch.zeros(2, 2)})
    both = read_checkpoint(tmp_path / "a")
    assert both.tensors["vae/encoder.conv_in.weight"].file == plain
    assert both.unlisted == ("vae/diffusion_pytorch_model.fp16.safetensors",)
    plain.rename(plain.with_name("diffusion_pytorch_model.ema.safetensors"))
    with pytest.raises(CheckpointError, match=r"several variants @ .*vae: got ema, fp16"):
        read_checkpoint(tmp_path / "a")


def test_a_missing_component_is_named(tmp_path):
    for name, seed in (("a", 1), ("b", 50)):
        write_pipeline(tmp_path / name, seed)
    for file in (tmp_path / "b" / "vae").iterdir():
        file.unlink()
    with pytest.raises(GraphmergeError, match=r"b has no component vae.*modules:"):
        compile_mapping(LINEAR, tmp_path / "recipe.yml")
    parts = {name: {"models": LINEAR["models"]} for name in ("unet", "text_encoder")}
    recipe = {"merge_method": "linear", "base_model": "a", "modules": parts}
    plan = plan_for(compile_mapping(recipe, tmp_path / "recipe.yml"))
    copied = {out.name: out.reason for out in plan.graph.outputs if out.reason}
    assert copied == {"vae/encoder.conv_in.weight": "in no module that the recipe lists"}


def test_an_interrupted_merge_of_components_continues(tmp_path):
    for name, seed in (("a", 1), ("b", 50)):
        write_pipeline(tmp_path / name, seed)
    compiled = compile_mapping(LINEAR, tmp_path / "recipe.yml")
    out, plan, options = tmp_path / "out", plan_for(compiled), RunOptions()
    with pytest.raises(KeyboardInterrupt):
        run(compiled, plan, out, options, StopAfter(3))
    assert not out.exists()
    report = run(compiled, plan, out, options, Silent())
    assert report.continued_tensors >= 1
    whole = merge(LINEAR, tmp_path / "whole").out
    for file in whole.rglob("*.safetensors"):
        assert (out / file.relative_to(whole)).read_bytes() == file.read_bytes()
    assert verify(out).is_intact


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", ".hidden"])
def test_a_component_outside_the_folder_is_refused(name, tmp_path):
    write_pipeline(tmp_path / "a", 1)
    file = tmp_path / "a" / "model_index.json"
    file.write_text(json.dumps({name: ["diffusers", "AutoencoderKL"]}))
    with pytest.raises(CheckpointError, match="a component elsewhere"):
        read_checkpoint(tmp_path / "a")


def test_an_output_of_components_can_be_replaced_only_when_asked(tmp_path):
    for name, seed in (("a", 1), ("b", 50)):
        write_pipeline(tmp_path / name, seed)
    merge(LINEAR, tmp_path / "out")
    with pytest.raises(OutputError, match="not empty"):
        merge(LINEAR, tmp_path / "out")
    merge(LINEAR, tmp_path / "out", options=RunOptions(overwrite=True))
