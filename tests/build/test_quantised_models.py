"""Quantised models are refused by the name of their format, with a way out."""

import pytest
import torch

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.checkpoint.summary import summarise
from graphmerge.errors import CheckpointError
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import write_model

CODES = torch.zeros(4, 4, dtype=torch.uint8)
SCALE = torch.ones(1, 1)
GROUPS = {"all": {"weights": {"type": "float", "num_bits": 8, "strategy": "tensor"}}}
"""What compressed-tensors says of FP8."""
FORMATS = {
    "gptq": ({"l.qweight": CODES.int(), "l.scales": SCALE.half()}, "gptq", "gptq"),
    "no config": ({"l.qweight": CODES.int(), "l.scales": SCALE.half()}, None, "GPTQ or AWQ"),
    "fp8": (
        {"l.weight": CODES.view(torch.float8_e4m3fn), "l.weight_scale_inv": SCALE},
        None,
        "block-scaled FP8",
    ),
    "bitsandbytes": ({"l.weight": CODES, "l.weight.absmax": SCALE}, None, "bitsandbytes 4-bit"),
    "mxfp4": ({"e.proj_blocks": CODES, "e.proj_scales": CODES[0]}, None, "MXFP4"),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("method", ["linear", "passthrough"])
def test_quantised_models_are_refused_by_name(tmp_path, name, method):
    tensors, in_config, told = FORMATS[name]
    config = {"quantization_config": {"quant_method": in_config}} if in_config else {}
    write_model(tmp_path / "m", tensors, config=config)
    recipe = {"merge_method": method, "models": [{"model": "m", "parameters": {"weight": 1}}]}
    if method == "passthrough":
        del recipe["models"][0]["parameters"]
    with pytest.raises(CheckpointError, match=f"quantised.*got {told}.*(version|dequantize)"):
        merge(recipe, tmp_path / "out")
    assert summarise(read_checkpoint(tmp_path / "m")).quantisation == told


@pytest.mark.parametrize("method", ["fp8", "bitsandbytes", "compressed-tensors"])
def test_codes_without_any_scales_are_refused(tmp_path, method):
    config = {"quantization_config": {"quant_method": method, "config_groups": GROUPS}}
    tensors = {"l.weight": CODES.view(torch.float8_e4m3fn), "norm.weight": SCALE}
    write_model(tmp_path / "m", tensors, config=config)
    recipe = {"merge_method": "passthrough", "models": [{"model": "m"}], "out_dtype": "float32"}
    why = "config.json does not say" if method == "bitsandbytes" else "l.weight has no scales"
    told = rf"quantised.*got {method} \(tensor l.weight\): {why}.*bfloat16 version"
    with pytest.raises(CheckpointError, match=told):
        merge(recipe, tmp_path / "out")
    assert summarise(read_checkpoint(tmp_path / "m")).quantisation == method


def test_plain_models_with_such_a_config_are_merged(tmp_path):
    """bitsandbytes sections also say how a plain model is to be loaded; names decide."""
    config = {"quantization_config": {"quant_method": "bitsandbytes"}}
    write_model(tmp_path / "m", {"x_blocks": SCALE, "l.weight": SCALE}, config=config)
    recipe = {"merge_method": "passthrough", "models": [{"model": "m"}]}
    assert set(merge(recipe, tmp_path / "out").tensors()) == {"x_blocks", "l.weight"}
