"""Every input tensor is merged, copied or reported; what cannot be merged is refused by name."""

import pytest
import torch
from constant_models import LLAMA, constant_model, names, numbered, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphmerge.errors import CheckpointError, InputError
from graphmerge.ops.sources import LoadTensor
from graphmerge.testing.merging import compile_mapping, merge
from graphmerge.testing.stored_models import write_model


def linear(*models, **fields):
    listed = [{"model": model, "parameters": {"weight": 1}} for model in models]
    return {"merge_method": "linear", "models": listed, **fields}


def compiled(recipe, folder):
    return compile_mapping(recipe, folder / "recipe.yml").build.graph


def used(graph):
    """(model, tensor) of everything that is loaded."""
    loads = (node.op for node in graph.nodes() if isinstance(node.op, LoadTensor))
    return {(op.model, op.entry.name) for op in loads}


def omitted(graph):
    return {(omission.model, omission.name): omission.reason for omission in graph.omissions}


def test_a_tensor_that_a_model_lacks_is_an_error(tmp_path):
    constant_model(tmp_path / "a", 1.0)
    short = {name: torch.ones(2, 3) for name in names() if "layers.2.mlp" not in name}
    write_model(tmp_path / "b", short, config=LLAMA | {"num_hidden_layers": 4})
    message = r"b has no tensor model\.layers\.2\.mlp\.up_proj\.weight @ tensor model\.layers\.2"
    with pytest.raises(InputError, match=message) as caught:
        compiled(linear("a", "b"), tmp_path)
    assert "every model that takes part must have it" in str(caught.value)


def test_a_tensor_that_only_another_model_has_is_reported(tmp_path):
    constant_model(tmp_path / "a", 1.0)
    more = {name: torch.ones(2, 3) for name in (*names(), "model.extra.bias")}
    write_model(tmp_path / "b", more, config=LLAMA | {"num_hidden_layers": 4})
    graph = compiled(linear("a", "b"), tmp_path)
    wanted = {("b", "model.extra.bias"): "the model that gives the names has no such tensor"}
    assert omitted(graph) == wanted
    (warning,) = graph.warnings
    what = "the model that gives the names has no such tensor"
    assert warning == f"b: 1 tensor is left out, as {what}: model.extra.bias"


def test_layers_in_no_slice_are_reported(tmp_path):
    for name in "ab":
        constant_model(tmp_path / name, 1.0)
    slices = [
        {"sources": [{"model": model, "layer_range": span}]}
        for model, span in (("a", [0, 3]), ("b", [3, 4]))
    ]
    graph = compiled({"merge_method": "passthrough", "slices": slices}, tmp_path)
    reasons = omitted(graph)
    assert reasons["a", "model.layers.3.mlp.up_proj.weight"] == "its layer is in no slice"
    assert reasons["b", "model.layers.0.mlp.up_proj.weight"] == "its layer is in no slice"
    ends = "only the first and last slice give tensors outside the layers"
    assert reasons["a", "lm_head.weight"] == reasons["b", "model.embed_tokens.weight"] == ends
    assert ("b", "lm_head.weight") not in reasons


def test_modules_that_a_recipe_does_not_list_are_copied(tmp_path):
    """mergekit drops them."""
    constant_model(tmp_path / "a", numbered(0))
    constant_model(tmp_path / "b", numbered(100))
    module = {"models": [{"model": "a"}, {"model": "b"}], "parameters": {"weight": 1}}
    recipe = {"merge_method": "linear", "modules": {"layers": module}}
    found = outcome(recipe, tmp_path)
    assert found["model.layers.0.mlp.up_proj.weight"] == 51
    assert (found["model.norm.weight"], found["lm_head.weight"]) == (60, 70)
    reasons = {o.name: o.reason for o in compiled(recipe, tmp_path).outputs if o.reason}
    assert set(reasons.values()) == {"in no module that the recipe lists"}


@pytest.mark.parametrize("sliced", [False, True])
def test_tensors_in_no_module_that_is_listed_are_reported_as_such(tmp_path, sliced):
    """Both models have them; the one that gives the names gives its own."""
    for name in "ab":
        constant_model(tmp_path / name, 1.0)
    sources = [{"model": name} for name in "ab"]
    module = {"models": sources}
    if sliced:
        module = {"slices": [{"sources": [own | {"layer_range": [0, 4]} for own in sources]}]}
    fields = {"parameters": {"weight": 1}}
    recipe = {"merge_method": "linear", "modules": {"layers": module | fields}}
    graph = compiled(recipe, tmp_path)
    assert set(omitted(graph).values()) == {"in no module that the recipe lists"}
    (warning,) = graph.warnings
    left_out = [name for model, name in omitted(graph) if model == "b"]
    assert len(left_out) == len(omitted(graph)) == 3
    what = "3 tensors are left out, being in no module that the recipe lists"
    assert warning == f"b: {what}: {', '.join(left_out)}"


def test_a_tied_head_stands_for_the_embedding(tmp_path):
    """a has a head of its own, b is tied: b's embedding is merged into the head, as of either"""
    constant_model(tmp_path / "a", numbered(0))
    tied = {name: torch.full((2, 3), 100.0) for name in names() if name != "lm_head.weight"}
    write_model(
        tmp_path / "b", tied, config=LLAMA | {"num_hidden_layers": 4, "tie_word_embeddings": True}
    )
    found = outcome(linear("a", "b"), tmp_path)
    assert found["lm_head.weight"] == (70 + 100) / 2
    assert not omitted(compiled(linear("a", "b"), tmp_path))
    assert outcome(linear("b", "a"), tmp_path)["lm_head.weight"] == (70 + 100) / 2
    assert not omitted(compiled(linear("b", "a"), tmp_path))
    assert "lm_head.weight" not in outcome(linear("b", "b"), tmp_path)


def with_ids(folder, ids, dtype=torch.int64):
    tensors = {"w": torch.ones(4), "ids": torch.tensor(ids, dtype=dtype)}
    return write_model(folder, tensors)


def test_integers_that_are_equal_everywhere_are_copied(tmp_path):
    with_ids(tmp_path / "a", [1, 2, 3])
    with_ids(tmp_path / "b", [1, 2, 3])
    merged = merge(linear("a", "b"), tmp_path / "out")
    assert merged.tensors()["ids"].tolist() == [1, 2, 3]
    reasons = {output.name: output.reason for output in merged.plan.graph.outputs}
    assert reasons == {"ids": "integer tensor, equal in all models", "w": ""}


def test_integers_that_differ_are_an_error_when_they_are_read(tmp_path):
    with_ids(tmp_path / "a", [1, 2, 3])
    with_ids(tmp_path / "b", [1, 2, 4])
    message = r"an integer tensor differs between the models.*@ tensor ids \(set dtype: to cast it"
    with pytest.raises(CheckpointError, match=message):
        merge(linear("a", "b"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_integers_of_two_dtypes_are_an_error(tmp_path):
    with_ids(tmp_path / "a", [1, 2, 3])
    with_ids(tmp_path / "b", [1, 2, 3], dtype=torch.int32)
    with pytest.raises(InputError, match="integer dtypes differ @ tensor ids: got I64, I32"):
        compiled(linear("a", "b"), tmp_path)


def test_dtype_casts_integers_so_that_they_are_merged(tmp_path):
    with_ids(tmp_path / "a", [1, 2, 3])
    with_ids(tmp_path / "b", [1, 2, 5])
    merged = merge(linear("a", "b", dtype="float32"), tmp_path / "out")
    assert merged.tensors()["ids"].tolist() == [1, 2, 4]


@pytest.mark.parametrize(
    ("stored", "dtype", "most"),
    [
        (torch.int64, "bfloat16", "256"),
        (torch.int16, "float16", "2,048"),
        (torch.int64, "float32", "16,777,216"),
        (torch.int16, "float32", ""),
        (torch.uint8, "bfloat16", ""),
        (torch.bool, "bfloat16", ""),
    ],
)
def test_integers_that_dtype_may_round_are_told(tmp_path, stored, dtype, most):
    """mergekit rounds them as well: whoever sets dtype is to know."""
    with_ids(tmp_path / "a", [0, 1, 1], dtype=stored)
    with_ids(tmp_path / "b", [0, 1, 1], dtype=stored)
    cast = compiled(linear("a", "b", dtype=dtype), tmp_path)
    wanted = (
        f"1 integer tensor is cast to {dtype}, which has every integer up to {most} only: ids "
        "(with out_dtype in place of dtype integers are copied)"
    )
    told = [line for line in cast.warnings if "integer" in line]
    assert told == ([wanted] if most else [])
    copied = compiled(linear("a", "b", out_dtype=dtype), tmp_path)
    assert not any("integer" in line for line in copied.warnings)
    (ids,) = (output for output in copied.outputs if output.name == "ids")
    assert f"torch.{ids.spec.dtype.torch_name}" == str(stored)


def test_weights_that_out_dtype_rounds_to_integers_are_told(tmp_path):
    """mergekit rounds them, without a word."""
    with_ids(tmp_path / "a", [1, 2, 3])
    with_ids(tmp_path / "b", [1, 2, 3])
    merged = merge(linear("a", "b", out_dtype="int64"), tmp_path / "out")
    assert merged.tensors()["w"].dtype is torch.int64
    (warning,) = (line for line in merged.plan.graph.warnings if "integers" in line)
    assert warning == (
        "1 tensor is rounded to integers by out_dtype int64: w "
        "(choose a float dtype, or leave it out)"
    )


def test_complex_numbers_are_refused_as_such(tmp_path):
    for name in "ab":
        write_model(tmp_path / name, {"w": torch.ones(4, dtype=torch.complex64)})
    message = (
        rf"a has complex numbers, which are not supported @ {tmp_path}/a/model.safetensors, "
        r"tensor w: got C64; wanted F16"
    )
    with pytest.raises(CheckpointError, match=message):
        compiled(linear("a", "b"), tmp_path)


def test_fp8_is_refused_by_name(tmp_path):
    plain, packed = torch.ones(4), torch.ones(4).to(torch.float8_e4m3fn)
    write_model(tmp_path / "a", {"w": plain})
    write_model(tmp_path / "b", {"w": packed})
    message = r"b is quantised; .*@ .*/b/model.safetensors, tensor w: got F8_E4M3; .* \(dequantise"
    for fields in ({}, {"dtype": "bfloat16"}):
        with pytest.raises(InputError, match=message):
            compiled(linear("a", "b", **fields), tmp_path)


def test_fp8_may_be_copied(tmp_path):
    packed = torch.ones(4).to(torch.float8_e4m3fn)
    write_model(tmp_path / "a", {"w": packed})
    recipe = {"merge_method": "passthrough", "models": [{"model": "a"}]}
    assert merge(recipe, tmp_path / "out").tensors()["w"].dtype is torch.float8_e4m3fn


def test_shapes_that_differ_are_named(tmp_path):
    write_model(tmp_path / "a", {"w": torch.ones(4, 2)})
    write_model(tmp_path / "b", {"w": torch.ones(5, 2)})
    message = r"shapes differ @ tensor w: got a \[4, 2\], b \[5, 2\]; wanted one shape"
    with pytest.raises(InputError, match=message):
        compiled(linear("a", "b"), tmp_path)


def test_many_problems_are_counted(tmp_path):
    for name, size in (("a", 2), ("b", 3)):
        tensors = {f"w{i}": torch.ones(size + i) for i in range(30)}
        write_model(tmp_path / name, tensors)
    with pytest.raises(InputError, match="and 10 more of this kind"):
        compiled(linear("a", "b"), tmp_path)


BF16, FP16, FP32, FP64 = torch.bfloat16, torch.float16, torch.float32, torch.float64


@pytest.mark.parametrize(
    ("stored", "fields", "wanted"),
    [
        ((BF16, BF16), {}, BF16),
        ((BF16, FP16), {}, FP32),
        ((BF16, FP32), {}, FP32),
        ((FP16, FP32), {}, FP32),
        ((FP16, FP64), {}, FP64),
        ((FP32, FP32), {"dtype": "bfloat16"}, BF16),
        ((BF16, FP16), {"dtype": "float16"}, FP16),
        ((BF16, BF16), {"out_dtype": "float32"}, FP32),
        ((FP32, FP32), {"dtype": "float16", "out_dtype": "bfloat16"}, BF16),
        ((FP32, FP32), {"out_dtype": "float64"}, FP64),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "slerp"])
def test_dtypes_of_outputs(tmp_path, method, stored, fields, wanted):
    """Rule 8: a tensor without `dtype` is promoted on its own: bf16 with fp16 gives fp32."""
    for name, dtype in zip("ab", stored, strict=True):
        write_model(tmp_path / name, {"w": torch.full((3,), 1.5, dtype=dtype)})
    recipe = linear("a", "b", **fields) | {"merge_method": method}
    if method == "slerp":
        recipe |= {"models": [{"model": "b"}], "parameters": {"t": 0.5}}
    if method != "linear":
        recipe["base_model"] = "a"
    (tensor,) = merge(recipe, tmp_path / "out").tensors().values()
    assert tensor.dtype is wanted
    assert tensor.tolist() == [1.5] * 3


def test_dtype_rounds_the_inputs_and_out_dtype_only_the_output(tmp_path):
    """1 + 2**-9 is 1 in bf16; half of the sum with itself shows when it was rounded."""
    value = 1 + 2.0**-9
    write_model(tmp_path / "a", {"w": torch.full((2,), value)})
    write_model(tmp_path / "b", {"w": torch.full((2,), value)})
    twice = {"parameters": {"normalize": False}}
    early = merge(linear("a", "b", dtype="bfloat16", out_dtype="float32", **twice), tmp_path / "e")
    late = merge(linear("a", "b", out_dtype="float32", **twice), tmp_path / "l")
    assert early.tensors()["w"].tolist() == [2.0, 2.0]
    assert late.tensors()["w"].tolist() == [2 * value] * 2


@pytest.fixture(scope="module")
def three_models(tmp_path_factory):
    """Three models: b has an extra tensor, c is tied and has more layers than the others."""
    root = tmp_path_factory.mktemp("models")
    constant_model(root / "a", 1.0)
    more = {name: torch.ones(2, 3) for name in (*names(), "model.extra.bias")}
    write_model(root / "b", more, config=LLAMA | {"num_hidden_layers": 4})
    tied = {name: torch.ones(2, 3) for name in names(6) if name != "lm_head.weight"}
    config = LLAMA | {"num_hidden_layers": 6, "tie_word_embeddings": True}
    write_model(root / "c", tied, config=config)
    return root


@st.composite
def drawn_recipes(draw):
    """Slices of equal length over one to three models, or a list of models."""
    method = draw(st.sampled_from(("linear", "passthrough")))
    if draw(st.integers(0, 4)) == 0:
        chosen = ["a"] if method == "passthrough" else draw(st.sampled_from((["a", "b"], ["b"])))
        listed = [{"model": model} for model in chosen]
        return {"merge_method": method, "models": listed, "parameters": _weight(method)}
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(0, 3))
        many = 1 if method == "passthrough" else draw(st.integers(1, 3))
        sources = []
        for model in draw(st.lists(st.sampled_from("abc"), min_size=many, max_size=many)):
            start = draw(st.integers(0, 4 - length))
            sources.append({"model": model, "layer_range": [start, start + length]})
        parts.append({"sources": sources})
    return {"merge_method": method, "slices": parts, "parameters": _weight(method)}


def _weight(method):
    return {"weight": 1} if method == "linear" else {}


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(drawn_recipes())
def test_every_input_tensor_is_merged_copied_or_reported(three_models, recipe):
    """Or the recipe is refused, as where a model lacks what the first one has."""
    try:
        build = compile_mapping(recipe, three_models / "recipe.yml")
    except InputError as error:
        allowed = ("has no tensor", "model.extra", "the slices make a model without layers")
        assert any(words in str(error) for words in allowed)  # noqa: PT017
        return
    graph = build.build.graph
    inputs = {
        (model.label, name) for model in build.models.values() for name in model.checkpoint.tensors
    }
    assert used(graph) | set(omitted(graph)) == inputs
    assert not used(graph) & set(omitted(graph))
    assert len({output.name for output in graph.outputs}) == len(graph.outputs)
