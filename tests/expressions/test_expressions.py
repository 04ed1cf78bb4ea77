"""What expressions mean, that they read nothing, and what they say of mistakes."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import torch
import yaml
from expression_models import CONFIG, LAYERS, write_models

import graphmerge as gm
from graphmerge.testing.reads import before_reads
from graphmerge.testing.stored_models import (
    read_model,
    same_bytes,
    weights_digest,
    write_model,
)
from graphmerge.units import format_bytes

NAMES = ("base", "math", "code")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A working directory with fp32 models base, math and code, and odd ones; their tensors."""
    folder = tmp_path_factory.mktemp("stored")
    tensors = write_models(folder, NAMES)
    wide = tensors["math"] | {"lm_head.weight": torch.ones(30, 8)}
    short = {name: tensor for name, tensor in tensors["math"].items() if name != "lm_head.weight"}
    write_model(folder / "wide", wide, config=CONFIG)
    write_model(folder / "short", short, config=CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield tensors | {"wide": wide, "short": short}


@pytest.fixture
def models(stored):
    return tuple(gm.load(name) for name in NAMES)


@pytest.fixture
def reads(monkeypatch):
    """Names of the tensors that are read, once for each read."""
    names = []
    before_reads(lambda entries: names.extend(entry.name for entry in entries), monkeypatch.setattr)
    return names


def ties_by_hand(base, math, code):
    deltas = [gm.sparsify(model - base, density=0.5) for model in (math, code)]
    return base + 0.8 * gm.sign_consensus(deltas, weights=[0.6, 0.4])


def steps(expression):
    """The entries of an expression as a recipe: operation, and everything else it says."""
    graph = yaml.safe_load(gm.to_recipe(expression))["graph"]
    return [(entry.pop("op"), entry) for entry in graph.values()]


def kinds(expression):
    return [kind for kind, _ in steps(expression)]


# what is read, and when


def test_nothing_is_read_before_save(models, reads, tmp_path):
    merged = ties_by_hand(*models).where("lm_head", models[0])
    shown = [repr(merged), merged._repr_html_(), gm.to_recipe(merged), merged.tensor_names]
    plan = merged.plan(memory_budget="2GiB")
    shown += [str(plan), plan._repr_html_(), plan.report()]
    assert all(shown)
    assert reads == []
    merged.save(tmp_path / "out", plan=plan)
    assert set(reads) == set(merged.tensor_names) - {"model.nothing"}


def test_a_tensor_reads_no_other(models, reads):
    ties_by_hand(*models).tensor("model.norm.weight")
    assert reads == ["model.norm.weight"] * 3


def test_composing_and_planning_do_not_import_torch(stored):
    code = (
        "import sys, graphmerge as gm\n"
        "base, math = gm.load('base'), gm.load('math')\n"
        "(base + 0.5 * gm.sparsify(math - base, density=0.1)).plan(memory_budget='2GiB')\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_checkpoint_is_found_again_from_another_working_directory(models, tmp_path, monkeypatch):
    merged = ties_by_hand(*models)
    expected = merged.tensor("model.norm.weight")
    monkeypatch.chdir(tmp_path)
    assert same_bytes(merged.tensor("model.norm.weight"), expected)


# what expressions mean


def test_a_tensor_is_that_of_the_saved_checkpoint_to_the_bit(models, tmp_path):
    merged = ties_by_hand(*models).cast("bfloat16")
    merged.save(tmp_path / "out")
    saved = read_model(tmp_path / "out")
    assert set(saved) == set(merged.tensor_names)
    for name, tensor in saved.items():
        found = merged.tensor(name)
        assert isinstance(found, torch.Tensor)
        assert same_bytes(found, tensor), name
        spec = merged.spec(name)
        assert (spec.shape, spec.dtype.torch_name) == (found.shape, f"{found.dtype}"[6:])


def test_arithmetic_of_models_and_task_vectors(models, stored):
    base, math, code = models
    name = "model.layers.1.mlp.up_proj.weight"
    b, m, c = (stored[model][name] for model in NAMES)
    cases = {
        base + (math - base): b + (m - b),
        (math - base) + base: b + (m - b),
        base - (math - base): b - (m - b),
        base + 0.5 * (math - base) - (code - base) / 4: b + 0.5 * (m - b) - 0.25 * (c - b),
        base + ((math - base) - (code - base)): b + (m - c),
        base + -(math - base): b - (m - b),
        base + 2 * ((math - base) + 0.5 * (code - base)): b + 2 * (m - b) + (c - b),
        -base: -b,
        base / 2: b / 2,
        gm.weighted_sum([base, math, code]): b + m + c,
        gm.weighted_sum([base, math], weights=[1, 3], normalize=True): (b + 3 * m) / 4,
    }
    for expression, expected in cases.items():
        torch.testing.assert_close(expression.tensor(name), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_cast_changes_how_floats_are_saved(models, dtype):
    base, math, _ = models
    merged = base + 0.5 * (math - base)
    cast = merged.cast(dtype)
    name = "model.norm.weight"
    assert same_bytes(cast.tensor(name), merged.tensor(name).to(getattr(torch, dtype)))
    assert same_bytes(cast.tensor("model.layers.0.position_ids"), torch.arange(9))
    assert cast.spec(name).dtype.torch_name == dtype


def test_a_factor_and_the_sum_are_one_step_each(models):
    base, math, code = models
    a, b = math - base, code - base
    assert kinds(base + 0.8 * a) == ["task-vector", "add-delta"]
    assert steps(base + 0.8 * a)[-1][1]["scale"] == 0.8
    assert steps(base - 0.8 * a)[-1][1]["scale"] == -0.8
    terms = base + (0.5 * a + 0.3 * b - 0.2 * a)
    assert kinds(terms) == ["task-vector", "task-vector", "weighted-sum", "add-delta"]
    assert steps(terms)[2][1]["weights"] == [0.5, 0.3, -0.2]
    sum_of_sums = base + ((a + b) + (0.5 * a + b))
    assert kinds(sum_of_sums).count("weighted-sum") == 2, "what is in brackets is added first"
    assert kinds(base + 0.5 * gm.weighted_sum([a, b], normalize=True)) == kinds(terms)


def test_expressions_are_values(models):
    base, math, _ = models
    delta = math - base
    before = repr(delta), delta.tensor_names, gm.to_recipe(base + delta)
    doubled, added, picked = 2 * delta, base + delta, base.where("norm", math)
    assert len({base, math, delta, doubled, added, picked, delta}) == 6
    assert (repr(delta), delta.tensor_names, gm.to_recipe(base + delta)) == before
    with pytest.raises(AttributeError):
        delta.note = "x"


def test_an_expression_shows_whether_it_is_normalised(models):
    base, math, code = models
    deltas = [math - base, code - base]
    elect, add = gm.sign_consensus, gm.weighted_sum
    shown = [repr(function(deltas, normalize=flag)) for function in (elect, add) for flag in (0, 1)]
    assert len(set(shown)) == 4
    assert "normalize" not in repr(elect(deltas)) + repr(add(deltas))


def test_long_expressions_stay_short_to_read(models):
    base, math, _ = models
    average = base
    for _ in range(40):
        average = average + 0.1 * (math - average)
    assert len(repr(average)) < 300


@pytest.mark.parametrize(
    "text",
    [
        "base + 0.5 * (math - base)",
        "2 * (0.5 * (math - base) + 0.3 * (code - base))",
        "2 * (math - base + sparsify(code - base, density=0.5, method='random', rescale='l1'))",
        "base - (math - base - (code - base))",
        "(base + 0.5 * (math - base)).where('norm', math)",
        "base.where(['norm', 'head'], math).cast('float16')",
        "interpolate(base, math, [0, 0.5])",
        "stack_layers([(base, 0, 2), (math, 1, 4)])",
        "merge('slerp', [math], base=base, t=0.5)",
    ],
)
def test_an_expression_shows_itself_as_it_was_written(models, text):
    names = {name: getattr(gm, name) for name in gm.__all__}
    assert repr(eval(text, names | dict(zip(NAMES, models, strict=True)))) == text


def test_functions_are_shown_by_name(models):
    def falling(name, layer, layers):
        return 0.5

    assert "falling, 1.0]" in repr(gm.weighted_sum(models[:2], weights=[falling, 1]))


def test_a_checkpoint_alone_is_an_expression_too(models, stored, tmp_path):
    base, _, _ = models
    assert same_bytes(base.tensor("lm_head.weight"), stored["base"]["lm_head.weight"])
    base.save(tmp_path / "copy")
    copied = read_model(tmp_path / "copy")
    assert copied.keys() == stored["base"].keys()
    assert all(same_bytes(tensor, stored["base"][name]) for name, tensor in copied.items())


# where


def taken_from(expression, stored, model):
    """The tensors of an expression that are those of a model."""
    found = {name: expression.tensor(name) for name in expression.tensor_names}
    return {
        name
        for name, tensor in found.items()
        if tensor.numel() and same_bytes(tensor, stored[model][name]) and "position" not in name
    }


@pytest.mark.parametrize("parts", ["norm", ["lm_head", "layers.1."], "*"])
def test_where_takes_the_tensors_that_have_a_part_in_their_name(models, stored, parts):
    base, math, _ = models
    chosen = base.where(parts, math)
    wanted = [parts] if isinstance(parts, str) else parts
    expected = {
        name
        for name, tensor in stored["math"].items()
        if tensor.numel() and "position" not in name
        if wanted == ["*"] or any(part in name for part in wanted)
    }
    assert expected
    assert taken_from(chosen, stored, "math") == expected
    assert len(taken_from(chosen, stored, "base") | expected) == len(
        taken_from(base, stored, "base")
    )


def test_where_may_take_tensors_of_another_shape(models, stored, tmp_path):
    chosen = models[0].where("lm_head", gm.load("wide"))
    assert chosen.spec("lm_head.weight").shape == (30, 8)
    chosen.save(tmp_path / "out")
    assert same_bytes(read_model(tmp_path / "out")["lm_head.weight"], torch.ones(30, 8))


def test_where_takes_task_vectors_too(models, stored):
    base, math, code = models
    mixed = base + (math - base).where("norm", code - base)
    name = "model.norm.weight"
    torch.testing.assert_close(mixed.tensor(name), stored["code"][name])
    torch.testing.assert_close(mixed.tensor("lm_head.weight"), stored["math"]["lm_head.weight"])


# weights for each tensor


def layer_of(name):
    return int(name.split(".")[2]) if ".layers." in name else None


def expected_weight(kind, name):
    layer = layer_of(name)
    if kind == "gradient":
        return 0.0 if layer is None else layer / (LAYERS - 1)
    if kind == "filters":
        return 0.75 if "q_proj" in name else 0.25 if "model.norm" in name else -1.0
    if kind == "filter of gradients":
        return (0.0 if layer is None else layer / (LAYERS - 1)) if "q_proj" in name else 1.0
    return 2.0 if layer is None else (layer + 1) / LAYERS


GIVEN = {
    "gradient": [0, 1],
    "filters": [
        {"filter": "q_proj", "value": 0.75},
        {"filter": "model.norm", "value": 0.25},
        {"value": -1.0},
    ],
    "filter of gradients": [{"filter": "q_proj", "value": [0, 1]}, {"filter": "*", "value": 1}],
    "function": lambda name, layer, layers: 2.0 if layer is None else (layer + 1) / layers,
}


def weighted_by_hand(base, math, weight):
    return gm.weighted_sum([base, math], weights=[weight, 0.5])


def merged_by_name(base, math, weight):
    pairs = [(base, {"weight": weight}), (math, {"weight": 0.5})]
    return gm.merge("linear", pairs, normalize=False)


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("made", [weighted_by_hand, merged_by_name])
def test_weights_may_differ_from_tensor_to_tensor(models, stored, kind, made):
    base, math, _ = models
    merged = made(base, math, GIVEN[kind])
    for name in merged.tensor_names:
        if "position" in name:
            continue
        expected = expected_weight(kind, name) * stored["base"][name] + 0.5 * stored["math"][name]
        torch.testing.assert_close(merged.tensor(name), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", GIVEN)
def test_other_parameters_may_differ_from_tensor_to_tensor(models, stored, kind):
    """The factor of a scaled task vector, as every parameter."""
    base, math, _ = models
    delta = gm.weighted_sum([math - base], weights=[GIVEN[kind]])
    name = "model.layers.2.self_attn.q_proj.weight"
    b, m = stored["base"][name], stored["math"][name]
    expected = b + expected_weight(kind, name) * (m - b)
    torch.testing.assert_close((base + delta).tensor(name), expected)
    density = gm.sparsify(math - base, density=lambda name, layer, _: float(layer == 2))
    torch.testing.assert_close((base + density).tensor(name), m)
    assert same_bytes(
        (base + density).tensor("model.norm.weight"), stored["base"]["model.norm.weight"]
    )


def test_a_function_gets_tensor_layer_and_number_of_layers(models):
    calls = set()

    def weight(*arguments):
        calls.add(arguments)
        return 1.0

    gm.weighted_sum(models[:1], weights=[weight])
    inside = {call for call in calls if call[1] is not None}
    assert inside == {
        (f"model.layers.{layer}.{part}.weight", layer, LAYERS)
        for layer in range(LAYERS)
        for part in ("mlp.up_proj", "self_attn.q_proj")
    }
    outside = {name for name, layer, _ in calls if layer is None}
    assert outside == {name for name in models[0].tensor_names if ".layers." not in name}


def test_a_list_is_a_value_for_each_model_where_each_has_one(models, stored):
    base, math, code = models
    name = "model.norm.weight"
    b, m, c = (stored[model][name] for model in NAMES)
    merged = gm.merge("task_arithmetic", [math, code], base=base, weight=[0.5, 2], lambda_=0.5)
    torch.testing.assert_close(merged.tensor(name), b + 0.25 * (m - b) + (c - b))


def test_a_model_may_be_named_twice(models, stored):
    """Listing the base among the models is what many recipes do."""
    by_path = gm.merge("slerp", ["base", "math"], base="base", t=0.5)
    base, math, _ = models
    name = "lm_head.weight"
    assert same_bytes(by_path.tensor(name), gm.interpolate(base, math, 0.5).tensor(name))


def test_numbers_may_be_those_of_numpy(models):
    import numpy as np

    merged = gm.weighted_sum(models[:2], weights=np.array([0.5, 0.25]))
    assert "weights=[0.5, 0.25]" in repr(merged)


# seeds


def test_a_seed_changes_random_masks_and_nothing_else(models):
    base, math, _ = models
    name = "model.embed_tokens.weight"
    for method, is_random in (("magnitude", False), ("random", True)):
        merged = base + gm.sparsify(math - base, method=method, density=0.5)
        first, again, other = (merged.tensor(name, seed=seed) for seed in (0, 0, 1))
        assert same_bytes(first, again)
        assert same_bytes(first, other) is not is_random


def test_a_seed_goes_with_the_plan(models, tmp_path):
    base, math, _ = models
    merged = base + gm.sparsify(math - base, method="random", density=0.5)
    for seed in (0, 1):
        merged.save(tmp_path / f"{seed}", plan=merged.plan(seed=seed))
        saved = read_model(tmp_path / f"{seed}")["model.embed_tokens.weight"]
        assert same_bytes(saved, merged.tensor("model.embed_tokens.weight", seed=seed))


def test_a_mask_drawn_from_what_a_mask_has_left_is_another_one(models):
    base, math, _ = models
    delta = math - base
    for _ in range(2):
        delta = gm.sparsify(delta, method="random", density=0.5)
    name = "model.embed_tokens.weight"
    kept = ((base + delta).tensor(name) != base.tensor(name)).float().mean()
    assert kept == pytest.approx(0.25, abs=0.01)


# plans


def test_a_plan_says_what_it_takes(models):
    plan = ties_by_hand(*models).plan(memory_budget="2GiB", workers=1)
    assert plan.fits
    assert plan.budget_bytes == 2 * 2**30
    peak = format_bytes(plan.predicted_peak_bytes)
    assert re.search(rf"predicted peak +{re.escape(peak)} ", str(plan))
    assert f"{plan!r}" == f"{plan}"
    sizes = [spec_bytes(model) for model in models]
    assert plan.read_bytes == sum(sizes)


def spec_bytes(model):
    return sum(model.spec(name).nbytes for name in model.tensor_names)


def test_a_plan_fits_its_least_budget_and_not_a_byte_less(models):
    merged = ties_by_hand(*models)
    least = merged.plan(memory_budget="2GiB", workers=1).least_budget_bytes
    assert merged.plan(memory_budget=least, workers=1).fits
    assert not merged.plan(memory_budget=least - 1, workers=1).fits


def test_a_plan_that_does_not_fit_is_shown_and_not_run(models, reads, tmp_path):
    merged = ties_by_hand(*models)
    plan = merged.plan(memory_budget=1)
    assert not plan.fits
    assert str(plan).startswith("DOES NOT FIT")
    with pytest.raises(gm.BudgetError, match="no plan fits the memory budget"):
        merged.save(tmp_path / "out", plan=plan)
    assert list(tmp_path.iterdir()) == []
    assert reads == []


def test_a_plan_is_of_one_expression(models, tmp_path):
    base, math, _ = models
    plan = ties_by_hand(*models).plan()
    other = base + (math - base)
    with pytest.raises(gm.GraphError, match=r"of another expression @ base \+ \(?math - base"):
        other.save(tmp_path / "out", plan=plan)
    assert list(tmp_path.iterdir()) == []
    made_anew = ties_by_hand(*(gm.load(name) for name in NAMES))
    made_anew.save(tmp_path / "out", plan=plan)


def test_the_budget_changes_no_byte(models, tmp_path):
    merged = ties_by_hand(*models)
    least = merged.plan(memory_budget="2GiB", workers=1).least_budget_bytes
    for name, budget in (("tight", least), ("ample", "2GiB")):
        merged.save(tmp_path / name, plan=merged.plan(memory_budget=budget, workers=1))
    assert weights_digest(tmp_path / "tight") == weights_digest(tmp_path / "ample")


def test_an_output_is_replaced_only_when_told_to(models, tmp_path):
    base, math, _ = models
    (base + (math - base)).save(tmp_path / "out")
    other = base + 0.5 * (math - base)
    with pytest.raises(gm.OutputError, match="overwrite"):
        other.save(tmp_path / "out")
    report = other.save(tmp_path / "out", overwrite=True)
    assert report.written_bytes == spec_bytes(other)


def test_what_the_user_should_know_is_a_python_warning(models, tmp_path):
    with pytest.warns(UserWarning, match="parameter 'density' has no effect on linear"):
        gm.merge("linear", list(models), weight=1, density=0.5).save(tmp_path / "out")


def test_the_recipe_beside_an_output_says_what_cannot_be_written(models, tmp_path):
    merged = gm.weighted_sum(models[:2], weights=[lambda *_: 0.5, 0.5])
    merged.save(tmp_path / "out")
    text = (tmp_path / "out" / "graphmerge_recipe.yml").read_text()
    assert text.startswith("# a Python expression: weighted_sum([base, math]")
    assert "cannot be written into a recipe" in text
    ties_by_hand(*models).save(tmp_path / "again")
    written = (tmp_path / "again" / "graphmerge_recipe.yml").read_text()
    assert written == gm.to_recipe(ties_by_hand(*models))
    manifest = json.loads((tmp_path / "again" / "graphmerge.json").read_text())
    assert manifest["method"] == "task-vector, sparsify, sign-consensus, add-delta"


# notebooks


class Tags(HTMLParser):
    """Checks that tags are closed in order; keeps the texts."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        assert tag in {"div", "b", "span", "details", "summary", "pre", "table", "tr", "td", "th",
                       "code"}  # fmt: skip

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_notebooks_show_expressions_and_plans(models):
    merged = ties_by_hand(*models)
    texts = Tags(merged._repr_html_()).texts
    assert repr(merged) in texts
    assert "model.layers.{0..3}.mlp.up_proj.weight" in texts
    for budget, verdict in (("2GiB", "fits"), (1, "does not fit")):
        plan = merged.plan(memory_budget=budget)
        texts = Tags(plan._repr_html_()).texts
        assert str(plan) in texts
        assert any(text.endswith(f"budget: {verdict}") for text in texts)


def test_notebooks_show_text_as_text(stored, tmp_path, monkeypatch):
    name = "<script>alert('x')&amp;\"<"
    write_model(tmp_path / "models" / name, stored["math"] | {"<b>": torch.ones(2)}, config=CONFIG)
    model = gm.load(tmp_path / "models" / name)
    halved = 0.5 * model
    texts = Tags(halved._repr_html_()).texts
    assert f"0.5 * {name}" in texts
    assert "<b>" in texts
    assert name in "".join(Tags(halved.plan()._repr_html_()).texts)


# mistakes

SHOWN = {
    "adding two models": (
        lambda base, math, code: base + math,
        gm.GraphError,
        r"two models are added @ in base \+ math; wanted a model and a task vector \(weighted_sum",
    ),
    "adding a number": (
        lambda base, math, code: base + 1,
        gm.GraphError,
        r"\+ of something else @ in base \+ 1: got 1; wanted a model or a task vector",
    ),
    "subtracting from a number": (
        lambda base, math, code: 1 - base,
        gm.GraphError,
        r"- of something else @ in 1 - base: got 1; wanted a model or a task vector on both sides",
    ),
    "adding a path": (
        lambda base, math, code: base + "code",
        gm.GraphError,
        r"\+ of something else @ in base \+ 'code'.*\(load it first: graphmerge\.load\('code'\)\)",
    ),
    "multiplying models": (
        lambda base, math, code: base * math,
        gm.GraphError,
        r"\* without a number @ in math \* base: got math; wanted a finite number",
    ),
    "multiplying by a boolean": (
        lambda base, *_: base * True,
        gm.GraphError,
        r"\* without a number @ in True \* base: got True",
    ),
    "dividing by zero": (
        lambda base, *_: base / 0,
        gm.GraphError,
        r"no divisor @ in base / 0: got 0; wanted a finite number other than zero",
    ),
    "signs of models": (
        lambda base, math, code: gm.sign_consensus([base, math]),
        gm.GraphError,
        r"signs are elected among task vectors @ .*, in sign_consensus\(\[base, math\], weights",
    ),
    "a sparse model": (
        lambda base, math, code: gm.sparsify(math, density=0.5),
        gm.GraphError,
        r"only task vectors are sparsified @ .*, in sparsify\(math, density=0\.5",
    ),
    "a sparse model, at random": (
        lambda base, math, code: gm.sparsify(math, density=0.5, method="random"),
        gm.GraphError,
        r"only task vectors .* @ .*, in sparsify\(math, density=0\.5",
    ),
    "a task vector less a model": (
        lambda base, math, code: (math - base) - code,
        gm.GraphError,
        r"difference of two weights @ .*, in math - base - code: got delta, weight",
    ),
    "models and task vectors in one sum": (
        lambda base, math, code: gm.weighted_sum([base, code - base]),
        gm.GraphError,
        r"different spaces @ .*, in weighted_sum\(\[base, code - base\]",
    ),
    "between a model and a task vector": (
        lambda base, math, code: gm.interpolate(base, code - base, 0.5),
        gm.GraphError,
        r"different spaces @ .*, in interpolate\(base, code - base, 0\.5\)",
    ),
    "a model with parts of a task vector": (
        lambda base, math, code: base.where("norm", code - base),
        gm.GraphError,
        r"cannot be parts of one @ in base\.where\('norm', code - base\)",
    ),
    "other shapes": (
        lambda base, math, code: gm.load("wide") - base,
        gm.CheckpointError,
        r"shapes differ @ tensor lm_head\.weight, in wide - base: got wide \[30, 8\], base \[24",
    ),
    "a tensor that a model lacks": (
        lambda base, math, code: base + (math - gm.load("short")),
        gm.CheckpointError,
        r"short has no tensor lm_head\.weight @ tensor lm_head\.weight, in math - short",
    ),
    "a tensor that the other one lacks": (
        lambda base, math, code: base.where("lm_head", gm.load("short")),
        gm.CheckpointError,
        r"short has no tensor lm_head\.weight @ .*, in base\.where\('lm_head', short\)",
    ),
    "a part of no name": (
        lambda base, math, code: base.where(["norm", "lm_haed", "layers.*"], math),
        gm.GraphError,
        r"no tensor has this in its name @ in base\.where\(.*: got 'lm_haed'.*\n.*got 'layers\.\*'",
    ),
    "tensors by no part of a name": (
        lambda base, math, code: base.where([], math),
        gm.GraphError,
        r"no tensors are chosen @ in base\.where\(\[\], math\); wanted a part of a name, or \*",
    ),
    "tensors by an empty text": (
        lambda base, math, code: base.where("", math),
        gm.GraphError,
        r"no tensor has this in its name @ in base\.where\('', math\): got ''",
    ),
    "a filter within a filter": (
        lambda base, math, code: gm.weighted_sum(
            [math, code], weights=[1, {"filter": "mlp", "value": [{"value": 1}, {"value": 2}]}]
        ),
        gm.RecipeError,
        r"not a parameter value @ in weighted_sum\(\[math, code\].*got \[\{'value': 1\}",
    ),
    "a root of a negative number": (
        lambda base, math, code: gm.weighted_sum([math, code], weights=[1, (-1.0) ** 0.5]),
        gm.RecipeError,
        r"not a parameter value @ in weighted_sum\(.*j\); wanted a number",
    ),
    "a density above one": (
        lambda base, math, code: gm.sparsify(math - base, density=1.5),
        gm.RecipeError,
        r"density out of range @ .*, in sparsify\(math - base, density=1\.5.*got 1\.5; wanted 0 to",
    ),
    "an unknown way to sparsify": (
        lambda base, math, code: gm.sparsify(math - base, density=0.5, method="randm"),
        gm.RecipeError,
        r"in sparsify\(math - base, density=0\.5, method='randm'.*'randm'.*magnitude, random",
    ),
    "an unknown method": (
        lambda base, math, code: gm.merge("tise", [math, code], base=base),
        gm.RecipeError,
        r"unknown merge method 'tise' @ .*, in merge\('tise', \[math.*did you mean 'ties'\?",
    ),
    "an unknown parameter": (
        lambda base, math, code: gm.merge("ties", [math, code], base=base, wieght=0.5),
        gm.RecipeError,
        r"no parameter 'wieght' @ wieght, in merge\(.*did you mean 'weight'\?",
    ),
    "an unknown parameter of one model": (
        lambda base, math, code: gm.merge("ties", [math, (code, {"wieght": 1})], base=base),
        gm.RecipeError,
        r"no parameter 'wieght' @ models\[1\], wieght, in merge\(",
    ),
    "no statistics": (
        lambda base, math, code: gm.merge("fisher", [math, code]),
        gm.RecipeError,
        r"@ models\[0\], in merge\(.*\(add statistics= with its path\)",
    ),
    "a missing parameter": (
        lambda base, math, code: gm.merge("slerp", [math], base=base),
        gm.RecipeError,
        r"slerp needs parameter 't' @ tensor .*, in merge.* \(give it as an argument of the m",
    ),
    "a missing base": (
        lambda base, math, code: gm.merge("ties", [math, code], weight=1),
        gm.RecipeError,
        r"ties needs a base model @ models, in merge\(.*, weight=1\) \(add base=\)",
    ),
    "too few weights": (
        lambda base, math, code: gm.sign_consensus([math - base, code - base], weights=[1]),
        gm.GraphError,
        r"one weight for each input @ in sign_consensus\(\[math - base.*got 1; wanted 2",
    ),
    "too many weights": (
        lambda base, math, code: gm.weighted_sum([math], weights=[1, 2]),
        gm.GraphError,
        r"one weight for each input @ in weighted_sum\(\[math\].*got 2; wanted 1",
    ),
    "too many weights of a method": (
        lambda base, math, code: gm.merge("linear", [math, code], weight=[1, 2, 3]),
        gm.RecipeError,
        r"a value for each model.* @ in merge\('linear', \[math, code\], weight=\[1, 2, 3\]\)",
    ),
    "weights that cancel": (
        lambda base, math, code: gm.weighted_sum([math, code], weights=[1, -1], normalize=True),
        gm.GraphError,
        r"weights sum to zero.*, in weighted_sum\(\[math, code\], weights=\[1\.0, -1\.0\], norm",
    ),
    "nothing to add up": (
        lambda base, math, code: gm.weighted_sum([]),
        gm.RecipeError,
        r"wrong number of models for weighted-sum @ .*in weighted_sum\(\[\]",
    ),
    "text for a number": (
        lambda base, math, code: gm.interpolate(base, math, "half"),
        gm.RecipeError,
        r"wrong value of parameter 't' @ .*, in interpolate\(base, math, 'half'\): got 'half'",
    ),
    "an object for a number": (
        lambda base, math, code: gm.interpolate(base, math, None),
        gm.RecipeError,
        r"not a parameter value @ in interpolate\(base, math, None\): got None; wanted a number",
    ),
    "a wrong key beside a filter": (
        lambda base, math, code: gm.interpolate(base, math, {"filter": "q", "val": 1}),
        gm.RecipeError,
        r"not a parameter value @ in interpolate\(.*'val': 1",
    ),
    "a function that returns nothing": (
        lambda base, math, code: gm.interpolate(base, math, lambda name, layer, layers: None),
        gm.RecipeError,
        r"no value for a tensor @ .*\('model\.embed_tokens.weight', None, 0\), in interpolate\(",
    ),
    "not a number": (
        lambda base, math, code: base * float("nan"),
        gm.RecipeError,
        r"wrong value of parameter 'factor' @ .*in nan \* base: got nan; wanted a finite number",
    ),
    "layers beyond the model": (
        lambda base, math, code: gm.stack_layers([(math, 0, 2), (code, 2, 5)]),
        gm.RecipeError,
        r"layer_range goes beyond the model @ .*, in stack_layers\(\[\(math.*at most 4 layers in",
    ),
    "layers backwards": (
        lambda base, math, code: gm.stack_layers([(math, 3, 1)]),
        gm.GraphError,
        r"not a range of layers @ in stack_layers\(\[\(math, 3, 1\)\]\): got 3, 1",
    ),
    "layers from the end": (
        lambda base, math, code: gm.stack_layers([(math, -2, 4)]),
        gm.GraphError,
        r"not a range of layers @ in stack_layers\(\[\(math, -2, 4\)\]\)",
    ),
    "no layers": (
        lambda base, math, code: gm.stack_layers([]),
        gm.GraphError,
        r"no layers to stack @ in stack_layers\(\[\]\)",
    ),
    "an unknown dtype": (
        lambda base, math, code: base.cast("bf16"),
        gm.RecipeError,
        r"unknown dtype @ dtype, in base\.cast\('bf16'\): .*did you mean 'bfloat16'\?",
    ),
    "an unknown dtype of a method": (
        lambda base, math, code: gm.merge("linear", [base], weight=1, dtype="float8"),
        gm.RecipeError,
        r"unknown dtype @ dtype, in merge\('linear', \[base\]",
    ),
    "an integer dtype of a method": (
        lambda base, math, code: gm.merge("linear", [base], weight=1, dtype="int64"),
        gm.RecipeError,
        r"weights cannot be merged as integers @ dtype, in merge\('linear', \[base\]",
    ),
    "the spec of no tensor": (
        lambda base, math, code: base.spec("norm"),
        gm.GraphError,
        "no tensor norm @ base",
    ),
    "no tensor": (
        lambda base, math, code: (base + (math - base)).tensor("norm"),
        gm.GraphError,
        r"no tensor norm @ base \+ math - base",
    ),
    "part of a tensor's name": (
        lambda base, math, code: base.tensor("model.norm"),
        gm.GraphError,
        r"no tensor model\.norm @ base \(did you mean 'model\.norm\.weight'\?\)",
    ),
    "no checkpoint": (
        lambda *_: gm.load("bsae"),
        gm.InputError,
        "no such local folder @ bsae",
    ),
    "the plan of a task vector": (
        lambda base, math, code: (math - base).plan(),
        gm.GraphError,
        r"a task vector is no model.* @ math - base \(add it to a model\)",
    ),
    "a tensor of a task vector": (
        lambda base, math, code: (math - base).tensor("lm_head.weight"),
        gm.GraphError,
        r"a task vector is no model.* @ math - base \(add it to a model\)",
    ),
    "a budget that is no size": (
        lambda base, math, code: (base / 2).plan(memory_budget="lots"),
        gm.InputError,
        "wrong argument @ memory_budget: got 'lots'; wanted bytes, a size such as",
    ),
    "a budget of nothing": (
        lambda base, math, code: (base / 2).plan(memory_budget=0),
        gm.InputError,
        "wrong argument @ memory_budget: got 0",
    ),
    "half a worker": (
        lambda base, math, code: (base / 2).plan(workers=1.5),
        gm.InputError,
        "not a number of workers @ workers: got 1.5; wanted an integer from 1 to 256",
    ),
    "no seed": (
        lambda base, math, code: (base / 2).plan(seed="x"),
        gm.InputError,
        "wrong argument @ seed: got 'x'; wanted an integer",
    ),
    "no workers": (
        lambda base, math, code: (base / 2).plan(workers=0),
        gm.InputError,
        "not a number of workers",
    ),
    "too many workers": (
        lambda base, math, code: (base / 2).plan(workers=257),
        gm.InputError,
        "not a number of workers @ workers: got 257; wanted an integer from 1 to 256",
    ),
    "an unknown device": (
        lambda base, math, code: (base / 2).plan(device="tpu"),
        gm.InputError,
        "unknown device @ device: got tpu; wanted cpu, cuda or cuda:N",
    ),
}


@pytest.mark.parametrize("mistake", SHOWN)
def test_a_mistake_is_told_where_it_is_made(models, reads, mistake):
    make, kind, message = SHOWN[mistake]
    with pytest.raises(kind, match=message):
        make(*models)
    assert reads == []


def test_models_that_have_one_name_are_not_confused(models, tmp_path, monkeypatch):
    base, _, _ = models
    write_models(tmp_path, ["code", "base"])
    monkeypatch.chdir(tmp_path)
    other = gm.load("base")
    merged = gm.interpolate(base, other, 0.5)
    with pytest.raises(gm.GraphError, match=r"two checkpoints are called 'base' @ interpolate\(ba"):
        merged.plan()
    with pytest.raises(gm.GraphError, match="load one by its full path"):
        gm.to_recipe(merged)
    by_path = gm.interpolate(base, gm.load(tmp_path / "base"), 0.5)
    assert by_path.plan().fits
