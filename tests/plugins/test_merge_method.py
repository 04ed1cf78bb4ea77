"""Functions over tensors as merge methods: what they get, how they are cut, what is refused."""

import json
import subprocess
import sys

import pytest
import torch
from plugin_recipes import recipe

import graphmerge as gm
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.pipeline import RunOptions, run
from graphmerge.testing.merging import Silent, compile_mapping, merge, plan_for
from graphmerge.testing.stored_models import read_model, weights_digest, write_model

NAME = "model.layers.2.mlp.weight"
HEAD = "import torch\nimport graphmerge as gm\n"


def stored(folder, *models):
    return [read_model(folder.path / model)[NAME] for model in models]


def test_models_come_in_recipe_order(folder):
    @gm.merge_method("second")
    def second(tensors):
        return tensors[1]

    (two,) = stored(folder, "two")
    assert folder.merged(recipe("second", "one", "two", "base"))[NAME].equal(two)


def test_a_base_that_is_needed_comes_first_and_has_no_value_in_lists(folder):
    seen = []

    @gm.merge_method("first", base="required")
    def first(tensors, *, weight: list[float]):
        seen.append((len(tensors), weight))
        return tensors[0]

    models = ("two", {"weight": 2}), ("base", {}), ("one", {"weight": 1})
    (base,) = stored(folder, "base")
    assert folder.merged(recipe("first", *models, base="base"))[NAME].equal(base)
    assert set(map(str, seen)) == {"(3, [2.0, 1.0])"}
    result = folder.invoke("plan", folder.write("recipe.yml", recipe("first", "one", "two")))
    assert result.exit_code == 2
    assert "first needs a base model" in result.stderr


def test_a_base_that_is_not_needed_is_one_more_model(folder):
    @gm.merge_method("total")
    def total(tensors, *, weight: list[float]):
        return sum(w * x for w, x in zip(weight, tensors, strict=True))

    models = [("one", {"weight": 1}), ("base", {"weight": 2})]
    plain, based = (folder.merged(recipe("total", *models, base=base), out=f"out-{base}")
                    for base in (None, "base"))  # fmt: skip
    assert plain[NAME].equal(based[NAME])


def test_gradients_filters_and_scopes_hold_for_parameters_of_plug_ins(folder):
    @gm.merge_method("fill")
    def fill(tensors, *, weight: list[float], t: float):
        return torch.full_like(tensors[0], 10 * t + sum(weight))

    only_mlp = [{"filter": "mlp", "value": 0.5}, {"value": 0.25}]
    given = recipe("fill", ("one", {"weight": only_mlp}), "two", t=[0, 1, 2, 3], weight=0)
    found = {name: value[0].item() for name, value in folder.merged(given).items()}
    assert found == {
        f"model.layers.{layer}.{part}.weight": 10 * layer + weight
        for layer in range(4)
        for part, weight in (("mlp", 0.5), ("attn", 0.25))
    }


def test_a_method_is_there_in_python_too(folder):
    @gm.merge_method("scaled")
    def scaled(tensors, *, weight: list[float], t: float = 1.0):
        return t * sum(w * x for w, x in zip(weight, tensors, strict=True))

    def by_layer(tensor, layer, layers):
        return layer / layers

    merged = gm.merge("scaled", ["one", "two"], weight=[by_layer, 0.0], t=2.0)
    (one,) = stored(folder, "one")
    assert merged.tensor(NAME).equal(2 * (0.5 * one))


def test_a_method_is_part_of_a_graph_like_any_other(folder):
    """graph: mine(one, two) and then slerp with base, in one plan as in two."""

    @gm.merge_method("most", access="elementwise")
    def most(tensors, *, t: float):
        return t * torch.maximum(*tensors)

    graph = {
        "graph": {"most-of-both": recipe("most", "one", "two", t=0.5),
                  "both": recipe("slerp", "base", base="most-of-both", t=0.3)},
        "output": "both",
    }  # fmt: skip
    merge(graph, folder.path / "at-once")
    merge(recipe("most", "one", "two", t=0.5), folder.path / "most-of-both")
    merge(recipe("slerp", "base", base="most-of-both", t=0.3), folder.path / "one-by-one")
    assert weights_digest(folder.path / "at-once") == weights_digest(folder.path / "one-by-one")


HINT = "give merge_method(workspace_bytes_per_element=...)"
OTHER_KIND = "method bad returns something else than a tensor like its inputs"
PROTOTYPE = "import warnings; warnings.simplefilter('ignore'); return "
"""torch warns once of what is not yet stable."""
UNTELLABLE = "class E(Exception):\n        def __str__(self): return 1 / 0\n    raise E"
LIE = "method bad is not {} as it says"
REFUSED = {
    "shape": ("", "return tensors[0].sum()", OTHER_KIND),
    "complex": ("", "return torch.complex(*tensors)", "got [101, 16] of torch.complex64; wanted"),
    "sparse": ("", "return tensors[0].to_sparse()", "got a tensor of layout torch.sparse_coo"),
    "meta": ("", "return tensors[0].to('meta')", "got [101, 16] without data, of device meta"),
    "nested": (
        "",
        PROTOTYPE + "torch.nested.nested_tensor(tensors)",
        "got a nested tensor; wanted",
    ),
    "quantised": (
        "",
        PROTOTYPE + "torch.quantize_per_tensor(tensors[0], 0.1, 0, torch.qint8)",
        "got [101, 16] of torch.qint8; wanted [101, 16]",
    ),
    "exit": ("", "raise SystemExit(0)", "[101, 16]: SystemExit: 0 @ tensor"),
    "generator": ("", "raise GeneratorExit", "[101, 16]: GeneratorExit @ tensor"),
    "untellable": ("", UNTELLABLE, "[101, 16]: E @ tensor"),
    "nothing": ("", "tensors[0] + 1", "got NoneType"),
    "exception": ("", "raise ValueError('odd\\nand more')", "[101, 16]: ValueError: odd @"),
    "writing": ("", "return tensors[0].mul_(2)", "method bad writes to its inputs"),
    "random": ("", "return torch.rand_like(tensors[0])", "another result when it is called again"),
    "mean": ("elementwise", "return tensors[0] - tensors[0].mean()", LIE.format("elementwise")),
    "places": (
        "elementwise",
        "return torch.arange(len(tensors[0])) * tensors[0]",
        LIE.format("elementwise"),
    ),
    "norm": ("rows", "return tensors[0] / tensors[0].norm()", LIE.format("rows")),
    "neighbours": ("rows", "return tensors[0] + tensors[0].roll(1, 0)", LIE.format("rows")),
    "value": ("", "return tensors[0] * (1 if tensors[0].max().item() > 1 else 2)", HINT),
    "numpy": ("", "return torch.from_numpy(tensors[0].numpy() + 1)", HINT),
    "vectors": (
        "",
        "return tensors[0] @ torch.eye(tensors[0].shape[1])",
        "cannot find out what is allocated: method bad fails on tensors of shape [24]: IndexError",
    ),
}
"""The access pattern, what the function does, and what is said of it."""


def bad_plugin(folder, options, body):
    text = f"{HEAD}@gm.merge_method('bad', {options})\ndef bad(tensors):\n    {body}\n"
    folder.write("bad.py", text)
    folder.write("recipe.yml", recipe("bad", "one", "two"))


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_function_that_breaks_the_rules_is_refused_before_anything_is_read(folder, command, name):
    access, body, message = REFUSED[name]
    bad_plugin(folder, f"access={access or 'whole'!r}", body)
    out = ["out"] if command == "run" else []
    result = folder.invoke(command, "recipe.yml", *out, "--plugin", "bad.py")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert "method bad" in result.stderr
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not (folder.path / "out").exists()


FAILING = {
    "return tensors[0] @ torch.eye(tensors[0].shape[1])": "fails on tensors of shape [24]",
    "return tensors[0][..., :16]": "got [16]; wanted [24]",
    "return tensors[0].to_sparse() if tensors[0].dim() == 1 else tensors[0]": "torch.sparse_coo",
    "return tensors[0] + 1j if tensors[0].dim() == 1 else tensors[0]": "[24] of torch.complex64",
    "return exit(0) if tensors[0].dim() == 1 else tensors[0]": "shape [24]: SystemExit: 0 @ ",
}
"""Nothing is traced where the author says what is allocated, so these are seen while merging."""


@pytest.mark.parametrize("body", FAILING)
def test_a_function_that_fails_while_merging_is_named(folder, body):
    bad_plugin(folder, "workspace_bytes_per_element=16", body)
    arguments = ["recipe.yml", "--plugin", "bad.py"]
    assert folder.invoke("plan", *arguments).exit_code == 0
    result = folder.invoke("run", *arguments, "out", "--quiet")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: method bad ")
    assert FAILING[body] in result.stderr
    assert "tensor model.layers." in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (folder.path / "out").exists()


@pytest.mark.parametrize("where", ["tensors[0].dim() == 2", "tensors[0].dim() == 1"])
def test_ctrl_c_in_a_function_interrupts(folder, where):
    """While it is tried, and while merging."""
    body = f"if {where}: raise KeyboardInterrupt\n    return tensors[0]"
    bad_plugin(folder, "workspace_bytes_per_element=16", body)
    result = folder.invoke("run", "recipe.yml", "out", "--plugin", "bad.py", "--quiet")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert "method bad" not in result.stderr


def test_a_process_with_a_failing_plug_in_prints_no_traceback(folder):
    body = next(iter(FAILING))
    bad_plugin(folder, "workspace_bytes_per_element=16", body)
    arguments = ["run", "recipe.yml", "out", "--plugin", "bad.py", "--quiet"]
    command = [sys.executable, "-m", "graphmerge.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert FAILING[body] in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


HONEST = {
    "elementwise": {
        "pow": lambda x: x.abs().pow(1.7),
        "sigmoid": torch.sigmoid,
        "softplus": torch.nn.functional.softplus,
        "atan2": lambda x: torch.atan2(x, x + 1),
        "logaddexp": lambda x: torch.logaddexp(x, -x),
        "is-positive": lambda x: x > 0,
        "not-a-number": lambda x: x / 0 * 0,
    },
    "rows": {
        "normalised": lambda x: torch.nn.functional.normalize(x, dim=-1),
        "power-of-norm": lambda x: x * x.norm(dim=-1, keepdim=True).pow(0.3),
        "softmax": lambda x: x.softmax(-1),
        "sorted": lambda x: x.sort(-1).values,
        "vector-product": lambda x: x * (x @ torch.ones(x.shape[-1]))[:, None],
    },
}


@pytest.mark.parametrize(
    ("access", "name"), [(access, name) for access in HONEST for name in HONEST[access]]
)
def test_rounding_of_the_last_few_elements_is_no_lie(folder, access, name):
    """torch computes what does not fill a vector by other instructions."""
    function = HONEST[access][name]

    @gm.merge_method("honest", access=access)
    def honest(tensors):
        return function(tensors[0])

    folder.compiled(recipe("honest", "one", "two"))


SHAPES = {"matrix": (2048, 256), "three": (8, 64, 256), "vector": (BLOCK_ELEMENTS + 7,)}
UNEVEN = {
    "narrow": (17_000, 100),  # a tile and 616 rows
    "odd": (997, 333),
    "wide": (100, 8192),  # the norms of 8 rows do not fill a vector
}
"""Rows of which no whole number fills a tile, or few fill one."""


def by_element(tensors):
    a, b = tensors
    return a.abs().pow(1.3) * torch.sigmoid(b)


def by_row(tensors):
    a, b = (x.reshape(-1, x.shape[-1]) for x in tensors)
    mixed = a + 0.3 * b
    length = a.norm(dim=-1, keepdim=True).pow(0.3) / mixed.norm(dim=-1, keepdim=True)
    return (mixed * length).reshape(tensors[0].shape)


def write_large(root, shapes):
    for number, name in enumerate(("one", "two")):
        generator = torch.Generator().manual_seed(number)
        tensors = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
        write_model(root / name, tensors)


def same_function_tiled_and_whole(root, access, function):
    """Digest and planned memory of merges in tiles of two sizes, and at once."""
    gm.merge_method("tiled", access=access)(function)
    gm.merge_method("at_once")(function)
    for name, blocks in (("tiled", 1), ("tiled", 4), ("at_once", 1)):
        limits = {"workers": 2, "tile_elements": blocks * BLOCK_ELEMENTS}
        done = merge(recipe(name, "one", "two"), root / f"{name}-{blocks}", **limits)
        yield weights_digest(done.out), done.plan.memory


@pytest.mark.parametrize(("access", "function"), [("elementwise", by_element), ("rows", by_row)])
def test_tiles_take_less_memory_and_give_the_bytes_of_the_whole(tmp_path, access, function):
    write_large(tmp_path, SHAPES)
    digests, plans = zip(*same_function_tiled_and_whole(tmp_path, access, function), strict=True)
    assert len(set(digests)) == 1
    small_tiles, large_tiles, whole = (memory.predicted_peak_bytes for memory in plans)
    assert small_tiles < large_tiles < whole
    assert plans[0].buffer_bytes < plans[2].buffer_bytes / 3


def test_rows_that_do_not_fill_vectors_give_the_bytes_of_the_whole(tmp_path):
    write_large(tmp_path, UNEVEN)
    digests = [digest for digest, _ in same_function_tiled_and_whole(tmp_path, "rows", by_row)]
    assert len(set(digests)) == 1


SEEN = {
    "elementwise": {(BLOCK_ELEMENTS,), (7,)},
    "rows": {(BLOCK_ELEMENTS // 256, 256), (1, BLOCK_ELEMENTS + 7)},
    "whole": set(SHAPES.values()),
}
"""Shapes that a function is called with, by its access pattern."""


@pytest.mark.parametrize("access", SEEN)
def test_a_function_sees_tiles_of_the_shape_that_it_has_declared(tmp_path, access):
    seen = set()

    @gm.merge_method("seeing", access=access, workspace_bytes_per_element=0)
    def seeing(tensors):
        seen.add(tuple(tensors[0].shape))
        return tensors[0]

    write_large(tmp_path, SHAPES)
    limits = {"tile_elements": BLOCK_ELEMENTS}
    compiled = compile_mapping(recipe("seeing", "one", "two"), tmp_path / "recipe.yml")
    seen.clear()  # what it was tried with
    run(compiled, plan_for(compiled, **limits), tmp_path / "out", RunOptions(), Silent())
    assert seen == SEEN[access]


def test_workers_call_a_function_at_the_same_time_and_change_no_byte(tmp_path):
    write_large(tmp_path, SHAPES)
    gm.merge_method("rows", access="rows")(by_row)
    for workers in (1, 3):
        merge(recipe("rows", "one", "two"), tmp_path / f"{workers}", workers=workers)
    assert weights_digest(tmp_path / "1") == weights_digest(tmp_path / "3")


@pytest.mark.parametrize("access", ["elementwise", "whole"])
@pytest.mark.parametrize(("dtype", "word"), [("float32", "F32"), ("bfloat16", "BF16")])
def test_a_function_that_makes_nan_is_named_by_the_warning(tmp_path, access, dtype, word):
    @gm.merge_method("roots", access=access)
    def roots(tensors):
        return tensors[0].sqrt()

    write_large(tmp_path, {"large": (BLOCK_ELEMENTS + 7,), "small": (70,)})
    merged = merge(recipe("roots", "one") | {"dtype": dtype}, tmp_path / "out")
    (warning,) = (line for line in merged.report.warnings if "where no input has" in line)
    where, _, hint = warning.partition(" (method ")
    assert where.endswith(f"@ tensor large ({word}), tensor small ({word})")
    assert hint.startswith("roots has made NaN, or numbers are too large for its dtype: look at")


def test_torch_that_a_plugin_loads_is_part_of_the_plan(folder):
    """Whether the recipe's own method needs it or not."""
    folder.write("loads.py", "import torch\n")
    models = [{"model": name, "parameters": {"weight": 1}} for name in ("one", "two")]
    folder.write("linear.yml", {"merge_method": "linear", "models": models})
    command = [sys.executable, "-m", "graphmerge.cli", "run", "linear.yml"]
    for out, options in (("plain", []), ("loaded", ["--plugin", "loads.py"])):
        subprocess.run([*command, out, *options], check=True, capture_output=True)
    plain, loaded = (
        json.loads((folder.path / out / "graphmerge.json").read_text())
        for out in ("plain", "loaded")
    )
    assert loaded["measured_peak_bytes"] > plain["predicted_peak_bytes"]
    assert loaded["measured_peak_bytes"] <= loaded["predicted_peak_bytes"]
