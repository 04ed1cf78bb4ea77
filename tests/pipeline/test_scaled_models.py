"""Models of 8-bit floats and scales take part in merges as the numbers that they stand for."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.checkpoint.summary import summarise
from graphmerge.errors import CheckpointError
from graphmerge.schedule.executors import Kernels
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import LlamaShape
from graphmerge.testing.merging import compile_mapping, merge
from graphmerge.testing.scaled_checkpoints import block_scaled, write_block_scaled
from graphmerge.testing.stored_models import read_model, weights_digest, write_model

SHAPE = LlamaShape(1, 96, 1400, vocabulary=300, heads=4, kv_heads=2)
"""No length is a multiple of the blocks below; some matrices have several tiles of 65,536."""
BLOCK = 64
Q = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A base in bf16 and in FP8, and a fine-tune in both."""
    root = tmp_path_factory.mktemp("models")
    write_base(root / "base", SHAPE, seed=0)
    write_fine_tune(root / "tuned", root / "base", seed=1, scale=0.01)
    for name in ("base", "tuned"):
        write_block_scaled(root / f"{name}8", root / name, block=BLOCK)
    return root


def dequantised(folder):
    """Every tensor in float64, by the formula: each code times the scale of its block."""
    stored = read_model(folder)
    found = {name: tensor.double() for name, tensor in stored.items() if "_scale" not in name}
    for name in list(found):
        scales = stored.get(f"{name}_scale_inv")
        if scales is not None:
            rows, columns = found[name].shape
            repeated = scales.double().repeat_interleave(BLOCK, 0)[:rows]
            found[name] *= repeated.repeat_interleave(BLOCK, 1)[:, :columns]
    return found


def linear(*names):
    models = [{"model": name, "parameters": {"weight": 0.3 + i}} for i, name in enumerate(names)]
    return {"merge_method": "linear", "models": models, "dtype": "float32"}


def test_passthrough_dequantises_a_model(models):
    recipe = {"merge_method": "passthrough", "models": [{"model": "base8"}]}
    out = merge(recipe, models / "plain")
    wanted = dequantised(models / "base8")
    assert out.tensors().keys() == wanted.keys() == read_model(models / "base").keys()
    for name, tensor in out.tensors().items():
        assert tensor.dtype is torch.bfloat16, name
        torch.testing.assert_close(
            tensor, wanted[name].float().bfloat16(), atol=0, rtol=0, msg=name
        )
    assert not out.plan.graph.omissions
    config = json.loads((out.out / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["torch_dtype"] == "bfloat16"
    assert "fp8" in (models / "base8" / "config.json").read_text()


@pytest.mark.parametrize("order", [("base8", "tuned"), ("tuned", "base8"), ("base8", "tuned8")])
def test_merged_numbers_are_those_of_float64(models, order):
    """Whichever model gives the names: scales are no tensors that the other one lacks."""
    first, second = (dequantised(models / name) for name in order)
    for name, tensor in merge(linear(*order), models / "-".join(order)).tensors().items():
        wanted = (0.3 * first[name] + 1.3 * second[name]) / 1.6
        torch.testing.assert_close(tensor.double(), wanted, atol=1e-7, rtol=1e-6, msg=name)


PLANS = {
    "two workers": {"workers": 2, "tile_elements": 65536},
    "least budget": {"budget_bytes": None},
    "torch": {"kernels": Kernels.TORCH, "tile_elements": 65536},
}


def changed(method, tuned, **more):
    """A recipe over the plain base and one fine-tune."""
    own = {"weight": 0.7, "density": 0.5} if method == "ties" else {}
    parameters = {"t": 0.3} if method == "slerp" else {}
    listed = [{"model": tuned, "parameters": own}]
    base = {"merge_method": method, "base_model": "base", "models": listed}
    return base | {"parameters": parameters} | more


@pytest.mark.parametrize("method", ["ties", "slerp", "tsv_m"])
def test_the_same_bytes_whatever_the_plan(models, method):
    recipe = changed(method, "tuned8", dtype="bfloat16")
    whole = weights_digest(merge(recipe, models / method).out)
    for name, plan in PLANS.items():
        assert weights_digest(merge(recipe, models / f"{method} {name}", **plan).out) == whole, name


def test_it_is_merged_like_a_model_in_float32_that_holds_the_same_numbers(models):
    wide = {name: tensor.float() for name, tensor in dequantised(models / "tuned8").items()}
    write_model(models / "wide", wide, config={})
    for method in ("ties", "slerp"):
        found = merge(changed(method, "tuned8", dtype="bfloat16"), models / f"{method} of codes")
        wanted = merge(changed(method, "wide", out_dtype="bfloat16"), models / f"{method} of wide")
        assert weights_digest(found.out) == weights_digest(wanted.out)


def test_the_plan_and_inspect_show_it(models):
    compiled = compile_mapping(linear("base8", "tuned"), models / "shown.yml")
    (node,) = [
        node
        for output in compiled.build.graph.outputs
        if output.name == Q
        for node in output.value.pattern.nodes
        if node.op.kind == "dequantise"
    ]
    assert node.op.settings() == "64 x 64"
    assert summarise(read_checkpoint(models / "base8")).quantisation == "fp8"
    assert len(summarise(read_checkpoint(models / "base8")).dequantised) == 7


def scaled(shape, style, dtype=torch.float32):
    """Codes, scales of a style, and the numbers that they stand for."""
    generator = torch.Generator().manual_seed(len(style))
    codes = torch.randn(shape, generator=generator).mul(30).to(torch.float8_e4m3fn)
    sizes = {"tensor": (1,), "scalar": (), "channel": (shape[0], 1), "row": (shape[0],)}
    scales = (torch.rand(sizes[style], generator=generator) + 0.1).to(dtype)
    factor = scales[:, None] if style == "row" else scales
    return codes, scales, codes.double() * factor.double()


def compressed(strategy, **more):
    weights = {"num_bits": 8, "type": "float", "strategy": strategy, **more}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "config_groups": groups,
    }


STYLES = {
    "static per tensor": ({"quant_method": "fp8", "activation_scheme": "static"}, "scalar"),
    "compressed per tensor": (compressed("tensor"), "tensor"),
    "compressed per row": (compressed("channel"), "channel"),
    "fbgemm": ({"quant_method": "fbgemm_fp8"}, "channel"),
    "fbgemm flat": ({"quant_method": "fbgemm_fp8"}, "row"),
    "modelopt": ({"quant_method": "modelopt", "quant_algo": "FP8"}, "scalar"),
}


@pytest.mark.parametrize("style", STYLES)
def test_scales_of_tensors_and_of_rows(tmp_path, style):
    settings, kind = STYLES[style]
    scale_dtype = torch.bfloat16 if kind == "channel" else torch.float32
    codes, scales, wanted = scaled((30, 20), kind, scale_dtype)
    tensors = {
        "l.weight": codes,
        "l.weight_scale": scales,
        "l.input_scale": torch.ones(1),
        "l.bias": torch.ones(30),
    }
    config = {"quantization_config": settings, "torch_dtype": "bfloat16"}
    write_model(tmp_path / "m", tensors, config=config)
    recipe = {"merge_method": "passthrough", "models": [{"model": "m"}]}
    merged = merge(recipe | {"out_dtype": "float32"}, tmp_path / "out")
    assert merged.tensors().keys() == {"l.weight", "l.bias"}
    torch.testing.assert_close(merged.tensors()["l.weight"], wanted.float(), atol=0, rtol=0)
    assert any("1 scales of activations are left out" in text for text in merged.report.warnings)


BLOCKS = {"quant_method": "fp8", "weight_block_size": [8, 8]}
CODES, SCALES = block_scaled(torch.randn(20, 20), 8)
REFUSED = {
    "no scales": ({"a.weight": CODES}, BLOCKS, "a.weight has no scales"),
    "other blocks": (
        {},
        BLOCKS | {"weight_block_size": [16, 8]},
        r"scales \[3, 3\] do not fit l.we",
    ),
    "no blocks": ({}, {"quant_method": "fp8"}, "config.json states no blocks"),
    "no section": ({}, {}, "config.json does not say how"),
    "odd blocks": ({}, BLOCKS | {"weight_block_size": [8]}, r"blocks of \[8\]"),
    "int8": ({}, compressed("channel", num_bits=4), "4 bits of float"),
    "groups": ({}, compressed("group"), "strategy 'group'"),
    "two kinds": (
        {"b.weight": torch.ones(4, 4, dtype=torch.int8), "b.weight_scale": torch.ones(4, 1)},
        BLOCKS,
        "b.weight_scale.*belongs to no codes",
    ),
    "packed": ({"b.weight_packed": torch.ones(4, 4, dtype=torch.int32)}, BLOCKS, "weight_packed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_config_does_not_explain_is_refused_with_the_reason(tmp_path, name):
    more, settings, told = REFUSED[name]
    tensors = {"l.weight": CODES, "l.weight_scale_inv": SCALES} | more
    write_model(tmp_path / "m", tensors, config={"quantization_config": settings})
    recipe = {"merge_method": "passthrough", "models": [{"model": "m"}]}
    with pytest.raises(CheckpointError, match=f"the model is quantised.*{told}.*bfloat16|{told}"):
        merge(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def packed_experts(seed):
    """Experts as GPT-OSS stores them, and as transformers dequantises them."""
    generator = torch.Generator().manual_seed(seed)
    stored, plain = {}, {}
    for name, rows, blocks in (("gate_up_proj", 40, 3), ("down_proj", 96, 2)):
        shape = (4, rows, blocks)
        codes = torch.randint(256, (*shape, 16), generator=generator, dtype=torch.uint8)
        scales = torch.randint(110, 130, shape, generator=generator, dtype=torch.uint8)
        full = f"model.layers.0.mlp.experts.{name}"
        stored |= {f"{full}_blocks": codes, f"{full}_scales": scales}
        plain[full] = convert_moe_packed_tensors(codes, scales)
        bias = torch.randn(4, rows, generator=generator).bfloat16()
        stored[f"{full}_bias"] = plain[f"{full}_bias"] = bias
    return stored, plain


@pytest.mark.parametrize("other", ["packed", "plain"])
def test_packed_experts_are_merged_as_what_transformers_makes_of_them(tmp_path, other):
    config = {"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}}
    numbers = []
    for seed, name in enumerate(("a", "b")):
        stored, plain = packed_experts(seed)
        is_packed = name == "a" or other == "packed"
        write_model(tmp_path / name, stored if is_packed else plain, config=config)
        numbers.append(plain)
    merged = merge(linear("a", "b"), tmp_path / "out", tile_elements=65536)
    assert merged.tensors().keys() == numbers[0].keys()
    for name, tensor in merged.tensors().items():
        wanted = (0.3 * numbers[0][name].double() + 1.3 * numbers[1][name].double()) / 1.6
        torch.testing.assert_close(tensor.double(), wanted, atol=1e-7, rtol=1e-6)
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())
    assert not merged.plan.graph.omissions
    assert len(summarise(read_checkpoint(tmp_path / "a")).dequantised) == 2


def test_packed_codes_of_another_layout_are_refused(tmp_path):
    stored, _ = packed_experts(0)
    name = "model.layers.0.mlp.experts.down_proj_blocks"
    config = {"quantization_config": {"quant_method": "mxfp4"}}
    write_model(tmp_path / "m", stored | {name: stored[name][..., :8]}, config=config)
    recipe = {"merge_method": "passthrough", "models": [{"model": "m"}]}
    with pytest.raises(
        CheckpointError, match=r"mxfp4.*U8\[4, 96, 2, 8\] and .* instead of.*dequant"
    ):
        merge(recipe, tmp_path / "out")


def test_stacked_experts_have_scales_of_their_own(tmp_path):
    """As transformers stores them: three axes, blocks in the last two."""
    parts = [block_scaled(torch.randn(20, 12), 8) for _ in range(3)]
    name = "mlp.experts.gate_up_proj"
    codes = torch.stack([codes.view(torch.uint8) for codes, _ in parts])
    tensors = {
        name: codes.view(torch.float8_e4m3fn),
        f"{name}_scale_inv": torch.stack([scales for _, scales in parts]),
    }
    write_model(tmp_path / "m", tensors, config={"quantization_config": BLOCKS})
    recipe = {"merge_method": "passthrough", "models": [{"model": "m"}], "dtype": "float32"}
    found = merge(recipe, tmp_path / "out").tensors()[name]
    for (own, scales), got in zip(parts, found, strict=True):
        repeated = scales.repeat_interleave(8, 0)[:20].repeat_interleave(8, 1)[:, :12]
        torch.testing.assert_close(got, own.float() * repeated, atol=0, rtol=0)
    assert load_file(tmp_path / "out" / "model.safetensors").keys() == {name}
