"""Expressions and recipes say the same, in both directions."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from expression_models import write_models
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import graphmerge as gm
from graphmerge.compilation import compile_graph, open_stored
from graphmerge.expressions.plans import plan_of
from graphmerge.recipe import (
    Conditional,
    Entry,
    ModelReference,
    Module,
    Recipe,
    RecipeGraph,
    Slice,
    Source,
    TokenizerSettings,
    TokenKind,
    TokenSource,
    parse_recipe_graph,
)
from graphmerge.recipe.graph_section import renamed
from graphmerge.recipe.parse import parse_recipe
from graphmerge.recipe.writing import write_recipe
from graphmerge.spec import DType
from graphmerge.testing.adapters import write_adapter
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import weights_digest

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yml"))
SEED = 3
NAMES = ("base", "math", "code")
ODD_NAMES = ("08", "a+b@c", "yes")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_models(folder, [*NAMES, *ODD_NAMES], integers=False)
    return folder


@pytest.fixture
def folder(written, monkeypatch):
    """The working directory: models base, math and code, and some of odd names."""
    monkeypatch.chdir(written)
    return written


@pytest.fixture
def models(folder):
    return tuple(gm.load(folder / name) for name in NAMES)


def graph_of(expression):
    limits = {"memory_budget": "2GiB", "workers": 1, "device": "cpu", "seed": SEED}
    return plan_of(expression, **limits)._plan.graph


def graph_of_text(text):
    recipe = parse_recipe_graph(text, recipe_folder=Path.cwd())
    opened = compile_graph(recipe, lambda ref: open_stored(ref, Path.cwd()), seed=SEED)
    return opened.build.graph


def assert_same(first, second):
    """The same nodes, not only equal ones: nodes are shared wherever they are made."""
    assert [output.name for output in first.outputs] == [output.name for output in second.outputs]
    for one, other in zip(first.outputs, second.outputs, strict=True):
        assert one.node is other.node, one.name


def ties_by_hand(base, math, code):
    deltas = [gm.sparsify(model - base, density=0.5) for model in (math, code)]
    merged = base + 0.8 * gm.sign_consensus(deltas, weights=[0.6, 0.4])
    return merged.where("lm_head", base)


def dare_by_name(base, math, code):
    weight = [{"filter": "q_proj", "value": [0, 0.5, 1e-7]}, {"value": "1e-3"}]
    pairs = [(math, {"weight": weight, "density": [0.1, 0.9]}), (code, {"weight": 1})]
    return gm.merge("dare_ties", pairs, base=base, rescale=True, lambda_=0.5)


def masks_of_what_is_merged(base, math, code):
    """Masks of models that are made depend on how they are made."""
    soup = gm.merge("linear", [math, code], weight=[1, 2.0])
    return gm.merge("dare_linear", [soup, math], base=base, weight=0.5, density=[0.5, 0.25])


def masks_upon_masks(base, math, code):
    delta = gm.sparsify(math - base, density=0.5, method="random")
    return base + gm.sparsify(0.5 * delta + (code - base), density=0.5, method="random")


def nested(base, math, code):
    first = gm.merge("ties", [math, code], base=base, weight=0.5, density=0.3)
    second = gm.merge("task_arithmetic", [math], base=base, weight=[0.5], dtype="bfloat16")
    return gm.merge("slerp", [second], base=first, t=[0, 0.5, 1])


def stacked(base, math, code):
    first, second = nested(base, math, code), ties_by_hand(base, math, code)
    return gm.stack_layers([(first, 0, 3), (second, 2, 4), (first, 0, 0), (math, 1, 2)])


def odd_names(base, *_):
    pair = [gm.load("08"), gm.load("a+b@c")]
    return gm.interpolate(gm.weighted_sum(pair, weights=[1, 0.5]), gm.load("yes"), 0.3)


def functions_of_layers(base, math, code):
    return base.where(["q_proj", "layers.1."], math).where("*", code).cast("float16")


EXPRESSIONS = {
    "checkpoint": lambda base, *_: base,
    "ties by hand": ties_by_hand,
    "dare by name": dare_by_name,
    "masks of what is merged": masks_of_what_is_merged,
    "masks upon masks": masks_upon_masks,
    "nested": nested,
    "stacked": stacked,
    "where and cast": functions_of_layers,
    "odd names": odd_names,
    "sums": lambda base, math, code: base - 0.5 * (0.5 * (math - base) + (code - base) / 3),
    "rescaled": lambda base, math, code: (
        base + gm.sparsify(math - base, density=[0.1, 1], method="random", rescale="l1")
    ),
    "consensus by layers": lambda base, math, code: (
        base + gm.sign_consensus(
            [math - base, code - base],
            weights=[[0, 1], {"filter": "*", "value": 0.1 + 0.2}],
            normalize=False,
        )
    ),
    "a model twice": lambda base, math, code: gm.merge("linear", [math, math, code], weight=1),
    "cast before": lambda base, math, code: gm.merge("ties", [math.cast("bfloat16"), code],
                                                     base=base, weight=1, dtype="float16"),
}  # fmt: skip


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_from_expression_to_recipe_and_back_is_the_same_graph(kind, models):
    expression = EXPRESSIONS[kind](*models)
    text = gm.to_recipe(expression)
    again = gm.from_recipe(f"{text}\n")
    assert_same(graph_of(expression), graph_of(again))
    assert gm.to_recipe(again) == text


@pytest.mark.parametrize("kind", [kind for kind in EXPRESSIONS if kind != "odd names"])
def test_what_is_written_is_what_the_command_line_runs(kind, models):
    """With full paths: those of expressions are found from everywhere."""
    expression = EXPRESSIONS[kind](*models)
    assert_same(graph_of(expression), graph_of_text(gm.to_recipe(expression)))


def test_other_numbers_are_another_graph(models):
    """The test of the tests above."""
    base, math, _ = models
    first, second = (base + factor * (math - base) for factor in (0.5, 0.25))
    with pytest.raises(AssertionError, match=r"model\.embed_tokens"):
        assert_same(graph_of(first), graph_of(second))


def test_a_single_merge_is_written_as_a_plain_recipe(folder):
    merged = gm.merge("slerp", ["math"], base="base", t=[0, 1], dtype="float16")
    assert yaml.safe_load(gm.to_recipe(merged)) == {
        "merge_method": "slerp",
        "models": [{"model": "math"}],
        "base_model": "base",
        "parameters": {"t": [0, 1]},
        "dtype": "float16",
    }


def test_several_steps_are_written_as_a_graph(folder):
    base, math = gm.load("base"), gm.load("math")
    density = [{"filter": "mlp", "value": 0.5}, {"filter": "*", "value": 1}]
    merged = base + gm.sparsify(math - base, density=density, rescale="l1")
    assert yaml.safe_load(gm.to_recipe(merged)) == {
        "graph": {
            "task-vector-1": {"op": "task-vector", "inputs": ["math", "base"]},
            "sparsify-1": {
                "op": "sparsify",
                "inputs": ["task-vector-1"],
                "density": density,
                "method": "magnitude",
                "rescale": "l1",
            },
            "add-delta-1": {"op": "add-delta", "inputs": ["base", "sparsify-1"], "scale": 1.0},
        },
        "output": "add-delta-1",
    }


def test_a_name_that_a_model_has_is_not_taken_for_an_entry(folder, tmp_path, monkeypatch):
    write_models(tmp_path, ["scale-1", "base"])
    monkeypatch.chdir(tmp_path)
    halved = 0.5 * gm.load("scale-1")
    graph = yaml.safe_load(gm.to_recipe(halved))["graph"]
    assert graph == {"scale-2": {"op": "scale", "inputs": ["scale-1"], "factor": 0.5}}


def test_a_function_cannot_be_written(models):
    def by_layer(name, layer, layers):
        return 0.5

    merged = gm.weighted_sum(models[:2], weights=[by_layer, 0.5])
    with pytest.raises(
        gm.RecipeError, match=r"the function .*by_layer cannot be written"
    ) as caught:
        gm.to_recipe(merged)
    assert "give numbers, a gradient, or filters instead" in str(caught.value)


# from recipes


WHOLE = """
    merge_method: ties
    base_model: base
    models:
      - {model: math, parameters: {weight: [0.5, 1], density: 0.5}}
      - {model: code, layer_range: [0, 2], parameters: {weight: 0.5}}
    parameters: {normalize: false, lambda: {filter: mlp, value: 0.5}}
    dtype: bfloat16
    out_dtype: float16
"""
SLICES = """
    merge_method: slerp
    base_model: base
    slices:
      - sources: [{model: base, layer_range: [0, 2]}, {model: math, layer_range: [2, 4]}]
        parameters: {t: [0, 1]}
      - sources: [{model: math, layer_range: [0, 1]}, {model: code, layer_range: [3, 4]}]
        base_model: code
    parameters: {t: 0.25}
"""
MODULE = """
    merge_method: linear
    modules:
      default:
        models: [{model: base}, {model: math}]
        parameters: {weight: [{filter: q_proj, value: 2}, 1]}
    parameters: {weight: 3, normalize: true}
    tokenizer: {source: union}
"""
PASSTHROUGH = """
    merge_method: passthrough
    modules:
      mlp: {models: [{model: base, parameters: {scale: 2}}]}
      self_attn: {models: [{model: math}]}
"""
GRAPH = """
    graph:
      d: {op: task-vector, inputs: [math, base]}
      odd@name: {op: sparsify, inputs: [d], density: 0.5, method: random}
      "7": {op: weighted-sum, inputs: [d, odd@name], weights: [0.5, [0, 1]]}
      sum: {op: add-delta, inputs: [base, {model: "7", override_architecture: Llama}]}
      whole: {merge_method: linear, models: [{model: sum}, {model: math}], parameters: {weight: 1},
              dtype: float16}
      out: {op: where, inputs: [whole, code], tensors: [norm, q_proj], out_dtype: bfloat16}
      idle: {op: scale, inputs: [nowhere], factor: 2}
    output: out
    dtype: bfloat16
"""
DOCUMENTS = """
    name: first
    merge_method: linear
    models: [{model: base}, {model: math}]
    parameters: {weight: 1}
    ---
    merge_method: dare_linear
    base_model: base
    models: [{model: first, parameters: {weight: 1, density: 0.5}}]
"""
TEXTS = {
    "whole": WHOLE,
    "slices": SLICES,
    "module": MODULE,
    "modules": PASSTHROUGH,
    "graph": GRAPH,
    "documents": DOCUMENTS,
}


def text_of(kind):
    return "\n".join(line[4:] for line in TEXTS[kind].splitlines())


def recipe_digest(text, out):
    return weights_digest(merge(yaml.safe_load(text), out, seed=SEED).out)


def saved_digest(expression, out):
    expression.save(out, plan=expression.plan(seed=SEED))
    return weights_digest(out)


@pytest.mark.filterwarnings("ignore:.*layer_range has no effect:UserWarning")
@pytest.mark.filterwarnings("ignore:.*tensors are left out:UserWarning")
@pytest.mark.parametrize("kind", TEXTS)
def test_from_recipe_to_expression_and_back(kind, folder, tmp_path):
    text = text_of(kind)
    expression = gm.from_recipe(text)
    again = gm.to_recipe(expression)
    assert_same(graph_of(expression), graph_of(gm.from_recipe(again)))
    assert_same(graph_of_text(text), graph_of_text(again))
    if kind != "documents":
        digest = recipe_digest(text, folder / f"{kind}-by-recipe")
        assert saved_digest(expression, tmp_path / "out") == digest


@pytest.fixture(scope="module")
def written_examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    for place, tuned in (("demo", ("code", "chat")), ("models", ("first", "second"))):
        write_base(folder / place / "base", TINY, seed=0)
        for seed, name in enumerate(tuned, start=1):
            write_fine_tune(folder / place / name, folder / place / "base", seed=seed, scale=0.01)
    for seed, name in enumerate(("code", "chat")):
        write_adapter(folder / "adapters" / name, folder / "models" / "base", rank=2, seed=seed)
    return folder


@pytest.fixture
def examples(written_examples, monkeypatch):
    """The working directory, with the models of the example recipes."""
    monkeypatch.chdir(written_examples)
    return written_examples


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_examples_are_expressions(path, examples, tmp_path):
    digest = recipe_digest(path.read_text(), examples / f"{path.stem}-by-recipe")
    expression = gm.from_recipe(path)
    assert saved_digest(expression, tmp_path / "by-path") == digest
    again = gm.from_recipe(gm.to_recipe(expression))
    assert saved_digest(again, tmp_path / "again") == digest


def test_a_recipe_in_another_folder_finds_its_models_there(examples, tmp_path, monkeypatch):
    """Random masks, too, are those of the command line."""
    (dare,) = (path for path in RECIPES if path.stem == "dare-ties")
    digest = recipe_digest(dare.read_text(), examples / "elsewhere")
    copy = examples / "elsewhere.yml"
    monkeypatch.chdir(tmp_path)
    expression = gm.from_recipe(copy)
    assert saved_digest(expression, tmp_path / "out") == digest
    beside = examples / "written.yml"
    beside.write_text(gm.to_recipe(expression))
    assert_same(graph_of(expression), graph_of(gm.from_recipe(f"{beside}")))


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(gm.RecipeError, match="cannot read the recipe"):
        gm.from_recipe(tmp_path / "none.yml")
    with pytest.raises(gm.RecipeError, match="cannot read the recipe"):
        gm.from_recipe("none.yml")


RENAMED = {
    "delta": "z-last",
    "thin": "thin@2",
    "thinner": "a-first",
    "soup": "on",
    "dropped": "m + n",
    "out": "µ",
}
"""Other names of the entries below, which sort otherwise."""
MASKED = """
graph:
  delta: {op: task-vector, inputs: [math, base]}
  thin: {op: sparsify, inputs: [delta], density: 0.5, method: random}
  thinner: {op: sparsify, inputs: [thin], density: 0.5, method: random}
  soup: {merge_method: linear, models: [{model: code}, {model: math}], parameters: {weight: 1}}
  dropped: {merge_method: dare_ties, base_model: base, models: [{model: soup}, {model: math}],
            parameters: {weight: 0.5, density: 0.3}}
  out: {op: add-delta, inputs: [dropped, thinner]}
output: out
"""


def test_names_of_entries_change_no_byte(folder):
    content = yaml.safe_load(MASKED)
    first = merge(content, folder / "masked", seed=SEED)
    for name, new in RENAMED.items():
        content = replaced(content, name, new)
    other = merge(content, folder / "renamed", seed=SEED)
    digest = weights_digest(first.out)
    assert weights_digest(other.out) == digest
    expression = gm.from_recipe(folder / "renamed.yml")
    assert saved_digest(expression, folder / "renamed-expression") == digest
    graph = dict(reversed(yaml.safe_load(MASKED)["graph"].items()))
    merge({"output": "out", "graph": graph}, folder / "reordered", seed=SEED)
    assert weights_digest(folder / "reordered") == digest
    merge(content, folder / "other-seed", seed=SEED + 1)
    assert weights_digest(folder / "other-seed") != digest


def replaced(content, name, new):
    if isinstance(content, dict):
        return {new if key == name else key: replaced(v, name, new) for key, v in content.items()}
    if isinstance(content, list):
        return [replaced(item, name, new) for item in content]
    return new if content == name else content


# recipes as text

WORDS = (
    *("a", "08", "-.5", "1e5", "1.5e5", "0x1", "yes", "on", "null", "~", "<<", "=", "2020-01-01"),
    *("1:30", "a@b", "a+b", "- x", "a: b", " a", "#", "*", "&a", "%", "'", '"', "\n", "\0"),
)
SEPARATORS = "\x85\u2028\u2029"
"""Ends of lines to Unicode, which PyYAML writes as they are and reads as spaces."""
CHARACTERS = st.characters(codec="utf-8", exclude_characters=SEPARATORS)
TEXT = st.sampled_from(WORDS) | st.text(CHARACTERS, min_size=1, max_size=3)
NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALAR = NUMBER | st.booleans() | TEXT
POINTS = SCALAR | st.lists(SCALAR, min_size=1, max_size=3).map(tuple)
FILTER = st.none() | TEXT.filter(lambda text: text != "*")
VALUE = st.lists(st.builds(Conditional, POINTS, FILTER), min_size=1, max_size=3).map(tuple)
PARAMETERS = st.dictionaries(TEXT, VALUE, max_size=3)
DTYPE = st.sampled_from([None, DType.BF16, DType.F16, DType.F32])


LORA = st.builds(ModelReference, TEXT, st.none() | TEXT)
STORED = st.builds(ModelReference, TEXT, st.none() | TEXT, st.none() | LORA, st.none() | TEXT)


def operations(model):
    """Operations as the parser makes them."""

    def made(kind, sources, parameters, tensors, dtype, out_dtype):
        module = Module(None, (Slice(tuple(sources)),), is_whole_model=True)
        named = {"other": tensors} if tensors else {}
        free = {name: value for name, value in parameters.items() if name not in RESERVED}
        return Recipe(kind, (module,), None, free | named, True, dtype, out_dtype)  # noqa: FBT003

    weight = st.just({}) | VALUE.map(lambda value: {"weight": value})
    source = st.builds(lambda model, own: Source(model, None, own), model, weight)
    taken = FILTER.map(lambda part: Conditional(value=True, filter=part))
    tensors = st.lists(taken, max_size=2).map(tuple)
    sources = st.lists(source, min_size=1, max_size=3)
    return st.builds(made, TEXT, sources, PARAMETERS, tensors, DTYPE, DTYPE)


RESERVED = ("op", "inputs", "weights", "tensors", "dtype", "out_dtype", "other")
RANGE = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda ends: tuple(sorted(ends)))


def slices(model):
    def made(models, starts, length, base, own, parameters):
        sources = tuple(
            Source(model, (start, start + length), own)
            for model, start in zip(models, starts, strict=False)
        )
        return Slice(sources, base, parameters)

    several = st.lists(model, min_size=1, max_size=2)
    starts = st.lists(st.integers(0, 9), min_size=2, max_size=2)
    base = st.none() | model
    return st.builds(made, several, starts, st.integers(0, 3), base, PARAMETERS, PARAMETERS)


def modules(model, name, parameters):
    statistics = st.none() | model.filter(lambda reference: reference.lora is None)
    source = st.builds(Source, model, st.none() | RANGE, PARAMETERS, statistics)
    whole = st.lists(source, min_size=1, max_size=3).map(
        lambda sources: ((Slice(tuple(sources)),), True)
    )
    cut = st.lists(slices(model), min_size=1, max_size=2).map(lambda parts: (tuple(parts), False))
    return st.builds(
        lambda name, parts, own: Module(name, parts[0], parts[1], own),
        name,
        whole | cut,
        parameters,
    )


TOKEN = st.builds(TokenSource, st.just(TokenKind.MODEL), STORED, force=st.booleans())
TOKEN |= st.just(TokenSource(TokenKind.ZERO))
TOKEN |= st.builds(TokenSource, st.just(TokenKind.MODEL_TOKEN), STORED, TEXT, force=st.booleans())
TOKEN |= st.builds(
    TokenSource, st.just(TokenKind.MODEL_TOKEN), STORED, st.none(), st.integers(0, 9)
)
TOKENIZER = st.builds(
    TokenizerSettings,
    st.sampled_from(["union", "base"]) | STORED,
    st.dictionaries(TEXT, TOKEN, max_size=2),
    st.none() | st.integers(1, 64),
)


def recipes(model):
    """Recipes as the parser makes them."""
    nameless = modules(model, st.none(), st.just({}) | PARAMETERS).map(lambda module: (module,))
    name = TEXT.filter(lambda text: text != "default")
    several = st.lists(
        modules(model, name, PARAMETERS), min_size=1, max_size=2, unique_by=lambda part: part.name
    ).map(tuple)
    return st.builds(
        Recipe,
        TEXT,
        nameless | several,
        st.none() | model,
        PARAMETERS,
        dtype=DTYPE,
        out_dtype=DTYPE,
        tokenizer=st.none() | TOKENIZER,
        chat_template=st.none() | st.sampled_from(["auto", "chatml", "{{ messages }}"]),
    )


@st.composite
def recipe_graphs(draw):
    """A recipe, or entries of which each uses the one before, and perhaps others."""
    names = draw(st.lists(TEXT, max_size=3, unique=True))
    if not names:
        return RecipeGraph((Entry("", draw(recipes(STORED))),), "")
    stored = STORED.filter(lambda reference: str(reference) not in names)
    entries = [Entry(names[0], draw(operations(stored)))]
    for before, name in pairwise(names):
        known = [ModelReference(entry.name) for entry in entries]
        made = draw(operations(stored | st.sampled_from(known)) | recipes(stored))
        if ModelReference(before) not in Entry(name, made).inputs():
            made = renamed(made, {Entry(name, made).inputs()[0]: ModelReference(before)})
        entries.append(Entry(name, made))
    named = [entry.recipe.tokenizer for entry in entries if entry.recipe.tokenizer]
    assume(not {str(model) for one in named for model in one.models()} & {*names})
    return RecipeGraph(tuple(entries), names[-1])


@settings(deadline=None)  # the first example waits for what Hypothesis itself sets up
@given(recipe_graphs())
def test_what_is_written_is_read_as_the_same_values(recipes):
    text = write_recipe(recipes)
    found = parse_recipe_graph(text)
    assert found == recipes, text
    assert f"{found!r}" == f"{recipes!r}", "1, 1.0 and True are not the same value"


def test_a_recipe_is_read_as_before(folder):
    """The single recipe of a file, without the graph around it."""
    text = text_of("slices")
    (entry,) = parse_recipe_graph(text).entries
    assert entry.recipe == parse_recipe(text)
