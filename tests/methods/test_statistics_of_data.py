"""Methods with statistics of data: what their results are like, and what mistakes are refused."""

import json
import re

import pytest
import torch
from data_statistics import FISHERS, GRAMS, folder_of, gram, write_statistics

import graphmerge as gm
from graphmerge.errors import GraphmergeError
from graphmerge.testing.merging import compile_mapping, merge
from graphmerge.testing.stored_models import read_model, same_bytes, write_model

NAMES = ("m0", "m1", "m2")
KIND = {"fisher": FISHERS, "regmean": GRAMS}
SHAPES = {"layers.0.q.weight": (30, 20), "layers.1.q.weight": (30, 20), "norm": (20,)}


def tensors_of(name):
    generator = torch.Generator().manual_seed(int(name[1:]))
    return {part: torch.randn(shape, generator=generator) for part, shape in SHAPES.items()}


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A working directory with three models and both kinds of statistics of each."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        write_model(tmp_path / name, tensors_of(name), config={"num_hidden_layers": 2})
        write_statistics(tmp_path, name, tensors_of(name))
    return tmp_path


def listed(method, names=NAMES, **own):
    return [
        {"model": name, "statistics": folder_of(name, KIND[method]), "parameters": own}
        for name in names
    ]


def recipe(method, names=NAMES, parameters=None, **own):
    models = listed(method, names, **own)
    return {"merge_method": method, "models": models, "parameters": parameters or {}}


@pytest.mark.parametrize("method", KIND)
def test_equal_models_give_the_model_bit_for_bit(models, method):
    """Whatever their statistics say; but for the plain mean of three, which rounds."""
    for name in NAMES:
        write_model(models / name, tensors_of("m0"))
    found = merge(recipe(method), models / "out").tensors()
    weighed = [name for name in SHAPES if method == "fisher" or name != "norm"]
    assert all(same_bytes(found[name], tensors_of("m0")[name]) for name in weighed)


@pytest.mark.parametrize("method", KIND)
def test_the_order_of_models_does_not_matter(models, method):
    straight = merge(recipe(method), models / "straight").tensors()
    turned = merge(recipe(method, ("m2", "m0", "m1")), models / "turned").tensors()
    for name, x in straight.items():
        torch.testing.assert_close(turned[name], x, rtol=0, atol=4e-6)


def test_how_large_a_fisher_matrix_is_says_nothing_unless_asked_for(models):
    """A power of two for all of one model: the norm takes it out, bit for bit."""
    for name in NAMES:  # none at the floor
        fishers = read_model(models / folder_of(name, FISHERS))
        write_model(models / folder_of(name, FISHERS), {n: x + 0.01 for n, x in fishers.items()})
    first = merge(recipe("fisher"), models / "first").tensors()
    kept = read_model(models / folder_of("m1", FISHERS))
    write_model(models / folder_of("m1", FISHERS), {n: x * 1024 for n, x in kept.items()})
    scaled = merge(recipe("fisher"), models / "scaled").tensors()
    raw = merge(recipe("fisher", parameters={"normalize": False}), models / "raw").tensors()
    assert all(same_bytes(scaled[name], x) for name, x in first.items())
    assert not torch.allclose(raw["norm"], first["norm"])


def test_regmean_is_the_least_of_what_the_paper_minimises(models):
    """No small change of the merged layer has a smaller sum of squared differences in output."""
    own = {"alpha": 1.0, "ridge": 1e-6}
    found = merge(recipe("regmean", parameters=own), models / "out").tensors()
    name = "layers.0.q.weight"
    weights = [tensors_of(model)[name].double() for model in NAMES]
    grams = [gram(model, name, (30, 20)).double() for model in NAMES]

    def loss(x):
        return sum(
            float(torch.trace((x - w) @ g @ (x - w).T)) for w, g in zip(weights, grams, strict=True)
        )

    least = loss(found[name].double())
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        change = 0.01 * torch.randn((30, 20), generator=generator, dtype=torch.float64)
        assert loss(found[name].double() + change) > least


def test_inputs_that_no_model_has_seen_are_averaged(models):
    """Rows and columns of zeros in every Gram matrix; and a layer that was never used."""
    for name in NAMES:
        grams = read_model(models / folder_of(name, GRAMS))
        grams["layers.0.q.weight"][:, 7] = grams["layers.0.q.weight"][7] = 0
        grams["layers.1.q.weight"].zero_()
        write_model(models / folder_of(name, GRAMS), grams)
    found = merge(recipe("regmean"), models / "out").tensors()
    means = {part: sum(tensors_of(name)[part] for name in NAMES) / 3 for part in SHAPES}
    torch.testing.assert_close(found["layers.0.q.weight"][:, 7], means["layers.0.q.weight"][:, 7])
    assert not torch.allclose(found["layers.0.q.weight"], means["layers.0.q.weight"])
    torch.testing.assert_close(found["layers.1.q.weight"], means["layers.1.q.weight"])


def test_gram_matrices_with_infinities_give_nan_and_a_warning(models):
    grams = read_model(models / folder_of("m1", GRAMS))
    grams["layers.0.q.weight"][3, 3] = torch.inf
    write_model(models / folder_of("m1", GRAMS), grams)
    merged = merge(recipe("regmean"), models / "out")
    assert merged.tensors()["layers.0.q.weight"].isnan().all()
    assert not merged.tensors()["layers.1.q.weight"].isnan().any()
    assert any("layers.0.q.weight" in warning for warning in merged.report.warnings)


@pytest.mark.parametrize("method", KIND)
def test_python_says_the_same_as_a_recipe(models, method):
    wanted = merge(recipe(method, weight=0.5), models / "by-recipe").tensors()
    statistics = [folder_of(name, KIND[method]) for name in NAMES]
    value = gm.merge(method, NAMES, statistics=statistics, weight=0.5)
    for expression in (value, gm.from_recipe(gm.to_recipe(value))):
        name = "layers.0.q.weight"
        assert same_bytes(expression.tensor(name), wanted[name])
    with pytest.raises(GraphmergeError, match="one checkpoint of statistics for each model"):
        gm.merge(method, NAMES, statistics=statistics[:2])


def test_statistics_may_be_made_by_another_entry(models):
    """The mean of two Fisher matrices for one model, and the other one's for the other."""
    graph = {
        "fishers": {"merge_method": "linear", "models": [
            {"model": folder_of(name, FISHERS), "parameters": {"weight": 1}} for name in NAMES[:2]
        ]},
        "merged": {"merge_method": "fisher", "models": [
            {"model": "m0", "statistics": "fishers"},
            {"model": "m1", "statistics": folder_of("m1", FISHERS)},
        ]},
    }  # fmt: skip
    found = merge({"graph": graph, "output": "merged"}, models / "out").tensors()
    pair = [read_model(models / folder_of(name, FISHERS)) for name in NAMES[:2]]
    write_model(models / "mean", {name: (x + pair[1][name]) / 2 for name, x in pair[0].items()})
    plain = {"merge_method": "fisher", "models": listed("fisher", NAMES[:2])}
    plain["models"][0]["statistics"] = "mean"
    want = merge(plain, models / "plain").tensors()
    assert all(same_bytes(found[name], x) for name, x in want.items())


def test_stacked_layers_take_the_statistics_of_their_own(models):
    """Layer 0 of the output is layer 1 of both models, with the Gram matrices of layer 1."""
    sources = [dict(model, layer_range=[1, 2]) for model in listed("regmean", NAMES[:2])]
    sliced = {"merge_method": "regmean", "slices": [{"sources": sources}]}
    found = merge(sliced, models / "sliced").tensors()
    whole = merge(recipe("regmean", NAMES[:2]), models / "whole").tensors()
    assert same_bytes(found["layers.0.q.weight"], whole["layers.1.q.weight"])
    assert found.keys() == {"layers.0.q.weight", "norm"}


def test_statistics_are_inputs_of_the_run_and_no_models(models):
    """The manifest has their fingerprint, the card does not list them as models."""
    merged = merge(recipe("fisher"), models / "out")
    manifest = json.loads((merged.out / "graphmerge.json").read_text())
    folders = [*NAMES, *(folder_of(name, FISHERS) for name in NAMES)]
    assert sorted(one["reference"] for one in manifest["inputs"]) == sorted(folders)
    card = (merged.out / "README.md").read_text().split("## Recipe")[0]
    assert re.findall(r"^- `(.*)`$", card, re.MULTILINE) == list(NAMES)


def test_a_run_is_identified_by_its_statistics_too(models):
    """So that an unfinished output is not continued with others."""
    before = compile_mapping(recipe("fisher"), models / "merge.yml").fingerprints()
    folder = models / folder_of("m2", FISHERS)
    write_model(folder, {name: x + 1 for name, x in read_model(folder).items()})
    after = compile_mapping(recipe("fisher"), models / "merge.yml").fingerprints()
    assert {name for name in before if before[name] != after[name]} == {folder.name}


def change(models, method, name, **changes):
    """Change the statistics of a model; None leaves a tensor out."""
    folder = models / folder_of(name, KIND[method])
    tensors = {**read_model(folder), **{part.replace("_", "."): x for part, x in changes.items()}}
    write_model(folder, {part: x for part, x in tensors.items() if x is not None})


def refused(models, content):
    with pytest.raises(GraphmergeError) as error:
        merge(content, models / "refused")
    assert not (models / "refused").exists()
    return str(error.value).splitlines()


@pytest.mark.parametrize("method", KIND)
def test_a_model_without_statistics_is_named(models, method):
    content = recipe(method)
    del content["models"][1]["statistics"]
    (line,) = refused(models, content)
    assert re.fullmatch(
        rf"{method} needs statistics of m1 @ \$\.models\[1\]; wanted a checkpoint with a .* "
        r"for each .* \(add statistics: with its path\)",
        line,
    )


def test_a_base_that_is_not_listed_has_no_statistics(models):
    content = recipe("fisher", NAMES[:2]) | {"base_model": "m2"}
    (line,) = refused(models, content)
    assert "the base model counts as one more input" in line
    assert "leave base_model out" in line


def test_statistics_that_the_method_does_not_use_are_refused(models):
    content = recipe("fisher") | {"merge_method": "linear"}
    first, *_ = refused(models, content)
    assert first == (
        "linear takes no statistics @ $.models[0].statistics: got m0-fisher "
        "(leave it out, or choose fisher, regmean or emr_restore)"
    )


def test_every_tensor_without_fisher_is_named(models):
    change(models, "fisher", "m0", norm=None)
    change(models, "fisher", "m2", norm=None)
    first, second = refused(models, recipe("fisher"))
    assert first == (
        "m0-fisher has no statistics of norm @ tensor norm; wanted a number for each entry "
        "(take statistics of every tensor of the model)"
    )
    assert second.startswith("m2-fisher has no statistics of norm @ tensor norm")


def test_a_gram_matrix_of_one_model_alone_is_refused(models):
    change(models, "regmean", "m1", layers_1_q_weight=None)
    (line,) = refused(models, recipe("regmean"))
    assert line.startswith("m1-gram has no statistics of layers.1.q.weight @ tensor layers.1.q")
    assert line.endswith("(other models have one of it: give all of them one, or none)")


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("fisher", {"norm": torch.ones(19)},
         r"^m1-fisher: .* of norm are of another shape @ tensor norm: got \[19\]; wanted \[20\] "),
        ("regmean", {"layers_0_q_weight": torch.ones(30, 30)},
         r"of layers\.0\.q\.weight are of another shape.*got \[30, 30\]; wanted \[20, 20\]"),
        ("regmean", {"norm": torch.ones(20)}, "wanted none, as it is no weight of a linear layer"),
        ("fisher", {"norm": torch.ones(20, dtype=torch.int32)},
         "m1-fisher: statistics of norm are no floats @ tensor norm: got I32; wanted F16, BF16"),
    ],
)  # fmt: skip
def test_statistics_that_do_not_fit_are_refused(models, method, changes, message):
    for name in NAMES if "norm" in changes and method == "regmean" else ("m1",):
        change(models, method, name, **changes)
    assert any(re.search(message, line) for line in refused(models, recipe(method)))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (
            -torch.eye(20),
            "a Gram matrix has a negative diagonal @ tensor layers.0.q.weight; wanted",
        ),
        (5 - 4 * torch.eye(20), "equations cannot be solved @ tensor layers.0.q.weight: got"),
    ],
)
def test_what_is_no_gram_matrix_is_refused_in_the_run(models, matrix, message):
    for name in NAMES:
        change(models, "regmean", name, layers_0_q_weight=matrix)
    with pytest.raises(GraphmergeError, match=message):
        merge(recipe("regmean"), models / "refused")


def test_names_of_another_kind_are_refused(models):
    folder = models / folder_of("m1", GRAMS)
    write_model(folder, {f"model.{name}": x for name, x in read_model(folder).items()})
    (line,) = refused(models, recipe("regmean"))
    assert line == (
        "m1-gram has statistics of no tensor that is merged: got names such as "
        "model.layers.0.q.weight; wanted such as layers.0.q.weight"
    )


def test_statistics_have_no_adapter(models):
    content = recipe("fisher")
    content["models"][2]["statistics"] += "+adapter"
    (line,) = refused(models, content)
    assert line.startswith("statistics have no adapter @ $.models[2].statistics")


@pytest.mark.parametrize(
    ("method", "parameters", "message"),
    [
        ("fisher", {"floor": 0}, "floor out of range.*above 0"),
        ("regmean", {"ridge": 0}, "ridge out of range.*above 0"),
        ("regmean", {"alpha": 1.5}, "alpha out of range.*0 to 1"),
        ("fisher", {"weight": -1}, "negative weight @ tensor .*m0: got -1"),
        ("regmean", {"weight": 0}, "all weights are zero"),
    ],
)
def test_parameters_out_of_range_are_refused(models, method, parameters, message):
    assert re.search(message, refused(models, recipe(method, parameters=parameters))[0])
