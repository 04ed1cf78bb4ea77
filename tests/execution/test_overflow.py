"""NaN and infinity that a merge has made of finite inputs are told, and no others."""

import pytest
import torch

from graphmerge.errors import CheckpointError
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.pipeline import RunOptions
from graphmerge.schedule.executors import Kernels
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import write_model

LARGE = 2 * BLOCK_ELEMENTS + 70
KERNELS = pytest.mark.parametrize("kernels", [Kernels.AUTO, Kernels.TORCH])


def tensors(dtype, **peaks):
    """Ones, with one number of another size in the middle of those that are named."""
    sizes = {"large": LARGE, "small_a": 70, "small_b": 70, "small_c": 70}
    made = {name: torch.ones(size, dtype=dtype) for name, size in sizes.items()}
    for name, peak in peaks.items():
        made[name][sizes[name] // 2] = peak
    return made


def warnings(tmp_path, recipe, kernels=Kernels.AUTO, **options):
    limits = {"workers": 2, "tile_elements": BLOCK_ELEMENTS, "kernels": kernels}
    merged = merge(recipe, tmp_path / "out", **limits, **options)
    found = {name for name, x in merged.tensors().items() if not x.isfinite().all()}
    return found, [line for line in merged.report.warnings if "layer number" not in line]


def scaled(weight, *names, **settings):
    models = [{"model": name, "parameters": {"weight": weight}} for name in names]
    recipe = {"merge_method": "linear", "models": models, "parameters": {"normalize": False}}
    return recipe | settings


@KERNELS
@pytest.mark.parametrize(
    ("dtype", "weight", "word"),
    [(torch.float16, 1e4, "F16"), (torch.bfloat16, 3e37, "BF16"), (torch.float32, 3e37, "F32")],
)
def test_what_is_too_large_for_the_output_is_told_once(tmp_path, kernels, dtype, weight, word):
    write_model(tmp_path / "a", tensors(dtype, large=12, small_b=12))
    found, told = warnings(tmp_path, scaled(weight, "a"), kernels)
    assert found == {"large", "small_b"}
    (warning,) = told
    assert warning.startswith("the output has NaN or infinity where no input has @ ")
    assert f"tensor large ({word}), tensor small_b ({word}) (" in warning


@KERNELS
@pytest.mark.parametrize("name", ["large", "small_b"])
def test_a_tensor_that_is_only_cast_is_told(tmp_path, kernels, name):
    write_model(tmp_path / "a", tensors(torch.bfloat16, **{name: 1e5}))
    recipe = {"merge_method": "passthrough", "models": [{"model": "a"}], "dtype": "float16"}
    found, (warning,) = warnings(tmp_path, recipe, kernels)
    assert found == {name}
    assert f"tensor {name} (F16) (numbers are too large for its dtype" in warning


@KERNELS
def test_the_largest_number_is_not_told(tmp_path, kernels):
    write_model(tmp_path / "a", tensors(torch.float16, large=6.55, small_c=6.55))
    assert warnings(tmp_path, scaled(1e4, "a"), kernels) == (set(), [])


@KERNELS
def test_first_names_and_a_count(tmp_path, kernels):
    write_model(tmp_path / "a", tensors(torch.float16, large=9, small_a=9, small_b=9, small_c=9))
    _, (warning,) = warnings(tmp_path, scaled(1e4, "a"), kernels)
    assert "tensor small_b (F16) and 1 more (" in warning


TIES = {
    "merge_method": "ties",
    "base_model": "base",
    "models": [{"model": "a", "parameters": {"weight": 1e4, "density": 0.5}}],
    "parameters": {"normalize": False},
}


@KERNELS
@pytest.mark.parametrize("recipe", [scaled(1e4, "a"), TIES], ids=["linear", "ties"])
def test_what_comes_of_nan_in_an_input_is_told_as_that_alone(tmp_path, kernels, recipe):
    bad = tensors(torch.float16, large=torch.nan, small_a=torch.inf, small_b=9)
    write_model(tmp_path / "a", bad)
    write_model(tmp_path / "base", tensors(torch.float16))
    found, told = warnings(tmp_path, recipe, kernels)
    assert found == {"large", "small_a", "small_b"}
    (overflow,) = (line for line in told if "the output has NaN" in line)
    assert "@ tensor small_b (F16) (" in overflow
    assert sum("a has NaN or infinity" in line for line in told) == 2


@KERNELS
def test_a_stored_result_passes_on_whose_fault_it_is(tmp_path, kernels):
    write_model(tmp_path / "a", tensors(torch.float16, large=torch.nan))
    write_model(tmp_path / "b", tensors(torch.float16, small_a=9))
    norms = {"merge_method": "slerp", "base_model": "a", "models": [{"model": "sum"}]}
    graph = {"sum": scaled(1e4, "a", "b"), "out": norms | {"parameters": {"t": 1}}}
    recipe = {"graph": graph, "output": "out", "dtype": "float16"}
    found, told = warnings(tmp_path, recipe, kernels)
    assert found == {"large", "small_a"}
    (overflow,) = (line for line in told if "the output has NaN" in line)
    assert "@ tensor small_a (F16) (" in overflow


@pytest.mark.parametrize("name", ["large", "small_b"])
def test_a_strict_run_refuses_it(tmp_path, name):
    write_model(tmp_path / "a", tensors(torch.float16, **{name: 12}))
    with pytest.raises(CheckpointError, match=rf"where no input has @ tensor {name} \(F16\)"):
        merge(scaled(1e4, "a"), tmp_path / "out", options=RunOptions(strict=True))
    assert not (tmp_path / "out").exists()
