"""Matrix methods in the core space take adapters by their factors."""

import pytest
import torch
from adapter_models import write_adapter, write_gpt2, write_llama
from safetensors.torch import load_file, save_file

from graphmerge.kernels.core_space import merged_in_core
from graphmerge.ops.matrix_rules import ActMat, Cart, IsoC, IsoCts, Star, TsvM, Wudi
from graphmerge.testing.merging import compile_mapping, merge
from graphmerge.testing.stored_models import read_model, same_bytes, weights_digest, write_model

RULES = {
    "star": (Star(0.4), {"eta": 0.4}),
    "tsv_m": (TsvM(), {}),
    "iso_c": (IsoC(), {}),
    "iso_cts": (IsoCts(0.8), {"common": 0.8}),
    "wudi": (Wudi(1e-3), {"ridge": 1e-3}),
    "actmat": (ActMat((1.0, 1.0)), {}),
    "cart": (Cart(0.5, 1.0), {"rank": 0.5}),
}
LAYER = "model.layers.0"
TOUCHED = {
    f"{LAYER}.self_attn.q_proj.weight": (3, 4),
    f"{LAYER}.mlp.down_proj.weight": (0, 4),
    f"{LAYER}.self_attn.v_proj.weight": (3, 0),
}
"""Ranks of both adapters."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    base = write_llama(root / "base")
    write_adapter(root / "first", base, target_modules=["q_proj", "v_proj"], r=3)
    write_adapter(root / "second", base, target_modules=["q_proj", "down_proj"], r=4, seed=2)
    return root


def recipe(models, method, parameters, **more):
    listed = [{"model": f"{models}/base+{models}/{name}"} for name in ("first", "second")]
    content = {"merge_method": method, "base_model": f"{models}/base", "models": listed}
    return content | {"parameters": parameters | {"space": "core"}} | more


def task_vector(models, adapter, name):
    """s B A in float64."""
    stored = load_file(models / adapter / "adapter_model.safetensors")
    module = f"base_model.model.{name.removesuffix('.weight')}"
    shape = read_model(models / "base")[name].shape
    if f"{module}.lora_A.weight" not in stored:
        return torch.zeros(shape, dtype=torch.float64)
    a, b = (stored[f"{module}.lora_{part}.weight"].double() for part in "AB")
    return (12 / len(a)) * b @ a


@pytest.mark.parametrize("method", RULES)
def test_factors_give_what_whole_task_vectors_give_in_float64(models, tmp_path, method):
    rule, parameters = RULES[method]
    base = read_model(models / "base")
    found = merge(recipe(models, method, parameters), tmp_path / "out").tensors()
    for name, tensor in base.items():
        if name not in TOUCHED:
            if ".layers.1." not in name:
                assert same_bytes(found[name], tensor), name
            continue
        deltas = [task_vector(models, adapter, name) for adapter in ("first", "second")]
        wanted = tensor.double() + merged_in_core(rule, deltas)
        torch.testing.assert_close(found[name].double(), wanted, atol=2e-6, rtol=1e-5, msg=name)
        assert not torch.equal(found[name], tensor)


def test_no_task_vector_is_made_where_factors_are_known(models, tmp_path):
    compiled = compile_mapping(recipe(models, "tsv_m", {}), tmp_path / "r.yml")
    for output in compiled.build.graph.outputs:
        kinds = {type(node.op).__name__ for node in output.value.pattern.nodes}
        is_touched = output.name.replace(".layers.1.", ".layers.0.") in TOUCHED
        assert ("MergeFactors" in kinds) == is_touched, output.name
        assert "AddLowRank" not in kinds
        assert "MergeMatrices" not in kinds
    (settings,) = {
        node.op.settings()
        for output in compiled.build.graph.outputs
        if output.name == f"{LAYER}.mlp.down_proj.weight"
        for node in output.value.pattern.nodes
        if node.op.kind == "factorise"
    }
    assert settings.endswith("core of ranks 0 + 4")


def test_the_same_bytes_whatever_the_plan(models, tmp_path):
    plans = ({}, {"workers": 2}, {"budget_bytes": None})
    made = recipe(models, "tsv_m", {"exclude": ""})
    outs = [merge(made, tmp_path / f"{i}", **plan).out for i, plan in enumerate(plans)]
    assert len(set(map(weights_digest, outs))) == 1


@pytest.mark.parametrize("change", ["another base", "a rounded base"])
def test_where_factors_are_not_the_task_vector_whole_ones_are_merged(models, tmp_path, change):
    made = recipe(models, "tsv_m", {})
    if change == "another base":
        made["base_model"] = str(
            write_model(tmp_path / "b", read_model(models / "base"), config={})
        )
    else:
        made["dtype"] = "bfloat16"  # the adapters' own weights are not rounded: see lora.md
    compiled = compile_mapping(made, tmp_path / "r.yml")
    nodes = [node for out in compiled.build.graph.outputs for node in out.value.pattern.nodes]
    assert "MergeMatrices" in {type(node.op).__name__ for node in nodes}
    assert "MergeFactors" not in {type(node.op).__name__ for node in nodes}


def test_weights_that_are_stored_transposed(tmp_path):
    base = write_gpt2(tmp_path / "base")
    for seed, name in enumerate(("first", "second"), start=1):
        targets = ["c_attn", "mlp.c_proj"]
        write_adapter(tmp_path / name, base, target_modules=targets, fan_in_fan_out=True, seed=seed)
    found = merge(recipe(tmp_path, "wudi", {"ridge": 1e-6}), tmp_path / "out").tensors()
    for name in ("transformer.h.0.attn.c_attn.weight", "transformer.h.1.mlp.c_proj.weight"):
        stored = [
            load_file(tmp_path / x / "adapter_model.safetensors") for x in ("first", "second")
        ]
        module = f"base_model.model.{name.removesuffix('.weight')}"
        pairs = [[one[f"{module}.lora_{part}.weight"].double() for part in "AB"] for one in stored]
        deltas = [3 * (b @ a).T for a, b in pairs]
        wanted = read_model(base)[name].double() + merged_in_core(Wudi(1e-6), deltas)
        torch.testing.assert_close(found[name].double(), wanted, atol=2e-6, rtol=1e-5)


def test_factors_that_are_not_finite_make_nan(models, tmp_path):
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        for file in (models / name).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    file = tmp_path / "first" / "adapter_model.safetensors"
    stored = load_file(file)
    key = f"base_model.model.{LAYER}.self_attn.q_proj.lora_A.weight"
    stored[key][0, 0] = torch.inf
    save_file(stored, file)
    made = recipe(models, "tsv_m", {})
    for model, name in zip(made["models"], ("first", "second"), strict=True):
        model["model"] = f"{models}/base+{tmp_path}/{name}"
    merged = merge(made, tmp_path / "out")
    assert merged.tensors()[f"{LAYER}.self_attn.q_proj.weight"].isnan().all()
    assert f"base+{tmp_path}/first has NaN or infinity @ {file}, tensor {key}" in "".join(
        merged.report.warnings
    )
