"""Recipes with a `graph:`, and files of several YAML documents."""

import re

import pytest
import yaml

from graphmerge.compilation import compile_recipe
from graphmerge.errors import CheckpointError, GraphError, InputError, RecipeError
from graphmerge.pipeline import RunOptions, run
from graphmerge.recipe import ModelReference, parse_recipe_graph
from graphmerge.spec import DType
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import Silent, plan_for
from graphmerge.testing.stored_models import read_model, weights_digest, write_model

OUTPUT = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_base(folder / "base", TINY, seed=0, dtype="F32")
    for seed, name in enumerate(("first", "second", "third"), start=1):
        write_fine_tune(folder / name, folder / "base", seed=seed, scale=0.01)
    return folder


@pytest.fixture
def models(written, monkeypatch):
    """The working directory, with fp32 models base, first, second and third."""
    monkeypatch.chdir(written)
    return written


def graph(entries, output="out", rest=""):
    """A recipe of entries, a line each."""
    lines = "\n".join(f"  {line.strip()}" for line in entries.strip().splitlines())
    return f"graph:\n{lines}\noutput: {output}\n{rest}"


def compiled(text, folder, *, seed=0):
    path = folder / "recipe.yml"
    path.write_text(text)
    return compile_recipe(path, seed=seed)


def merged(text, out, *, seed=0):
    """Digest of the output of a recipe text."""
    made = compiled(text, out.parent, seed=seed)
    run(made, plan_for(made), out, RunOptions(overwrite=True), Silent())
    return weights_digest(out)


# the form of the section


CIRCLE = """
    a: {op: scale, inputs: [b]}
    b: {op: scale, inputs: [c]}
    c: {op: scale, inputs: [a]}
"""
FORM = {
    "the graph is a list": ("graph: [1]\noutput: a", r"not a mapping @ \$\.graph: got \[1\]"),
    "an unknown key": (
        graph("a: {op: scale, inputs: [m]}", "a", "zzz: 1"),
        r"unknown key 'zzz' @ \$\.zzz: .*one of graph, output, dtype, out_dtype",
    ),
    "a misspelt key": (
        graph("a: {op: scale, inputs: [m]}", "a", "out_dtpye: x"),
        r"unknown key 'out_dtpye' @ \$\.out_dtpye: .*did you mean 'out_dtype'\?",
    ),
    "no output": ("graph: {a: {op: scale, inputs: [m]}}", r"missing key 'output' @ \$"),
    "an output that is no entry": (
        graph("merged: {op: scale, inputs: [m]}", "mergd"),
        r"no such entry @ \$\.output: got 'mergd'; wanted one of merged \(did you mean 'merged'",
    ),
    "an output that is a number": (
        graph("a: {op: scale, inputs: [m]}", "7"),
        r"not a text @ \$\.output: got 7.*in quotes",
    ),
    "an entry that is a text": (
        graph("a: scale", "a"),
        r"not an entry @ \$\.graph\.a: got 'scale'; wanted a mapping with 'op'",
    ),
    "an entry that does nothing": (
        graph("a: {inputs: [m]}", "a"),
        r"not an entry @ \$\.graph\.a: .*'op' and 'inputs', or with 'merge_method'",
    ),
    "a name that is a number": (
        graph("1: {op: scale, inputs: [m]}", "a"),
        r"a key is not text @ \$\.graph\[1\]",
    ),
    "a name twice": (
        graph("a: {op: scale, inputs: [m]}\na: {op: scale, inputs: [m]}", "a"),
        r"key 'a' is given twice \(first in line 2\) @ <string>, line 3",
    ),
    "missing inputs": (graph("a: {op: scale}", "a"), r"missing key 'inputs' @ \$\.graph\.a"),
    "no inputs": (
        graph("a: {op: scale, inputs: []}", "a"),
        r"not a list of entries @ \$\.graph\.a\.inputs: got \[\]",
    ),
    "a lone input": (
        graph("a: {op: scale, inputs: m}", "a"),
        r"not a list of entries @ \$\.graph\.a\.inputs: got 'm'",
    ),
    "an input that is a number": (
        graph("a: {op: scale, inputs: [m, 7]}", "a"),
        r"not a text @ \$\.graph\.a\.inputs\[1\]",
    ),
    "an input that is no reference": (
        graph("a: {op: scale, inputs: [m@]}", "a"),
        r"not a model reference @ \$\.graph\.a\.inputs\[0\]",
    ),
    "an operation that is a number": (
        graph("a: {op: 7, inputs: [m]}", "a"),
        r"not a text @ \$\.graph\.a\.op",
    ),
    "an integer dtype of all entries": (
        "dtype: int64\n" + graph("a: {op: scale, inputs: [m], factor: 1}", "a"),
        r"weights cannot be merged as integers @ \$\.dtype",
    ),
    "an integer dtype of an operation": (
        graph("a: {op: scale, inputs: [m], factor: 1, dtype: int64}", "a"),
        r"weights cannot be merged as integers @ \$\.graph\.a\.dtype",
    ),
    "too few weights": (
        graph("a: {op: weighted-sum, inputs: [m, n], weights: [1]}", "a"),
        r"wrong number of weights @ \$\.graph\.a\.weights: got \[1\]; wanted one for each of 2",
    ),
    "a lone weight": (
        graph("a: {op: weighted-sum, inputs: [m], weights: 1}", "a"),
        r"not a list of entries @ \$\.graph\.a\.weights: got 1",
    ),
    "a wrong key in a weight": (
        graph("a: {op: weighted-sum, inputs: [m, n], weights: [1, {vale: 1}]}", "a"),
        r"unknown key 'vale' @ \$\.graph\.a\.weights\[1\].*did you mean 'value'",
    ),
    "a parameter without a value": (
        graph("a: {op: scale, inputs: [m], factor: null}", "a"),
        r"not a parameter value @ \$\.graph\.a\.factor: got None",
    ),
    "tensors that are a number": (
        graph("a: {op: where, inputs: [m, n], tensors: 7}", "a"),
        r"not a list of entries @ \$\.graph\.a\.tensors",
    ),
    "a tensor that is a number": (
        graph("a: {op: where, inputs: [m, n], tensors: [norm, 7]}", "a"),
        r"not a text @ \$\.graph\.a\.tensors\[1\]: got 7",
    ),
    "an unknown dtype": (
        graph("a: {op: cast, inputs: [m], dtype: bf16}", "a"),
        r"unknown dtype @ \$\.graph\.a\.dtype: .*did you mean 'bfloat16'",
    ),
    "an unknown dtype of the output": (
        graph("a: {op: cast, inputs: [m], out_dtype: bf16}", "a"),
        r"unknown dtype @ \$\.graph\.a\.out_dtype: ",
    ),
    "an unknown dtype of the file": (
        graph("a: {op: cast, inputs: [m]}", "a", "dtype: bf16"),
        r"unknown dtype @ \$\.dtype: ",
    ),
    "a misspelt key of a recipe": (
        graph("a: {merge_method: linear, models: [{modle: m}]}", "a"),
        r"unknown key 'modle' @ \$\.graph\.a\.models\[0\]\.modle.*did you mean 'model'",
    ),
    "a recipe without models": (
        graph("a: {merge_method: linear}", "a"),
        r"a key is missing @ \$\.graph\.a: .*exactly one of models, slices, modules",
    ),
    "a circle": (
        graph(CIRCLE, "a"),
        "entries are inputs of one another in a circle @ <string>: got a -> b -> c -> a$",
    ),
    "an entry that needs itself": (
        graph("a: {op: scale, inputs: [a]}", "a"),
        r"in a circle @ <string>: got a -> a$",
    ),
}


@pytest.mark.parametrize("mistake", FORM)
def test_a_mistake_of_form_is_told_with_its_place(mistake):
    text, message = FORM[mistake]
    with pytest.raises(RecipeError, match=message):
        parse_recipe_graph(text)


def documents(*texts):
    return "---\n".join(f"{text}\n" for text in texts)


SOUP = "merge_method: linear\nmodels: [{model: m}]"
OF_SOUP = "merge_method: linear\nmodels: [{model: soup}]"
DOCUMENT = {
    "a document without a name": (
        documents(SOUP, OF_SOUP),
        r"a document without a name @ \$\[0\]: .*give it a 'name:'",
    ),
    "a name that is a number": (
        documents(f"name: 7\n{SOUP}", OF_SOUP),
        r"a document without a name @ \$\[0\]",
    ),
    "a document that is a list": (documents("- 1", SOUP), r"not a recipe @ \$\[0\]: got \[1\]"),
    "nothing after the last separator": (
        documents(f"name: soup\n{SOUP}", ""),
        r"not a recipe @ \$\[1\]: got None",
    ),
    "a misspelt key": (
        documents("name: soup\nmerge_methd: linear\nmodels: [{model: m}]", OF_SOUP),
        r"unknown key 'merge_methd' @ \$\[0\]\.merge_methd: .*did you mean 'merge_method'",
    ),
    "a wrong key of a model": (
        documents("name: soup\nmerge_method: linear\nmodels: [{model: m, layer: 1}]", OF_SOUP),
        r"unknown key 'layer' @ \$\[0\]\.models\[0\]\.layer",
    ),
    "a circle": (
        documents(f"name: a\n{OF_SOUP}", f"name: soup\n{SOUP.replace('m}', 'a}')}"),
        r"in a circle @ <string>: got a -> soup -> a$",
    ),
    "two of one name": (
        documents(f"name: a\n{SOUP}", f"name: a\n{SOUP}"),
        r"two documents are called 'a'",
    ),
}


@pytest.mark.parametrize("mistake", DOCUMENT)
def test_a_mistake_in_a_document_is_told_with_its_place(mistake):
    text, message = DOCUMENT[mistake]
    with pytest.raises(RecipeError, match=message):
        parse_recipe_graph(text)


def test_all_mistakes_of_form_at_once():
    entries = """
        a: {op: weighted-sum, inputs: [m, n], weights: [1]}
        b: {op: scale}
        c: {merge_method: linear, modles: []}
        d: 7
    """
    with pytest.raises(RecipeError) as caught:
        parse_recipe_graph(graph(entries, "e", "dtpye: x"))
    assert [problem.where for problem in caught.value.problems] == [
        "$.dtpye",
        "$.graph.a.weights",
        "$.graph.b",
        "$.graph.c.modles",
        "$.graph.c",
        "$.graph.d",
        "$.output",
    ]


# what entries mean


MEANING = {
    "an unknown operation": (
        "out: {op: sacle, inputs: [base], factor: 2}",
        RecipeError,
        r"unknown operation 'sacle' @ .*one of task-vector, weighted-sum.*did you mean 'scale'",
    ),
    "an unknown method": (
        "out: {merge_method: tise, models: [{model: base}]}",
        RecipeError,
        r"unknown merge method 'tise' @ .*did you mean 'ties'",
    ),
    "an unknown parameter": (
        "out: {op: scale, inputs: [base], facter: 2}",
        RecipeError,
        r"scale has no parameter 'facter' @ entry out, \$\.facter; .*did you mean 'factor'",
    ),
    "a missing parameter": (
        "out: {op: scale, inputs: [base]}",
        RecipeError,
        r"scale needs parameter 'factor' @ entry out, tensor .*\(give it in the entry, as f",
    ),
    "a parameter that is no number": (
        "out: {op: scale, inputs: [base], factor: half}",
        RecipeError,
        r"wrong value of parameter 'factor' @ entry out, \$\.factor: got 'half'",
    ),
    "a weight that is no number": (
        "out: {op: weighted-sum, inputs: [base, first], weights: [1, {value: x}]}",
        RecipeError,
        r"wrong value of parameter 'weight' @ entry out, \$\.weights\[1\]: got 'x'",
    ),
    "too few inputs": (
        "out: {op: interpolate, inputs: [base], t: 0.5}",
        RecipeError,
        r"wrong number of models for interpolate @ entry out, \$\.inputs: got 1 \(base\); wanted 2",
    ),
    "adding two models": (
        "out: {op: add-delta, inputs: [base, first]}",
        GraphError,
        r"a delta is added to a weight @ entry out, tensor model.*: got weight, weight",
    ),
    "a sparse model": (
        "out: {op: sparsify, inputs: [base], density: 0.5}",
        GraphError,
        r"only task vectors are sparsified @ entry out, tensor",
    ),
    "signs of models": (
        "out: {op: sign-consensus, inputs: [first, base]}",
        GraphError,
        r"signs are elected among task vectors @ entry out, tensor",
    ),
    "a density above one": (
        (
            "d: {op: task-vector, inputs: [first, base]}\n"
            "s: {op: sparsify, inputs: [d], density: 2}\n"
            "out: {op: add-delta, inputs: [base, s]}"
        ),
        RecipeError,
        r"density out of range @ entry s, d, tensor model\.embed_tokens\.weight: got 2; wanted 0",
    ),
    "an output that is a task vector": (
        "out: {op: task-vector, inputs: [first, base]}",
        GraphError,
        r"^an output must be a weight @ tensor model\.embed_tokens\.weight and 38 more: [^\n]*$",
    ),
    "a model that is not there": (
        "out: {op: scale, inputs: [frist], factor: 2}",
        InputError,
        "no such local folder @ frist",
    ),
    "a missing parameter of a recipe": (
        (
            "t: {merge_method: ties, base_model: base, models: [{model: first}]}\n"
            "out: {op: scale, inputs: [t], factor: 2}"
        ),
        RecipeError,
        r"ties needs parameter 'weight' @ entry t, tensor.*got none for first \(give it in 'param",
    ),
    "an unknown parameter of a recipe": (
        "out: {merge_method: linear, models: [{model: base, parameters: {wieght: 1}}]}",
        RecipeError,
        r"@ entry out, \$\.models\[0\]\.parameters\.wieght; .*did you mean 'weight'",
    ),
}


@pytest.mark.parametrize("mistake", MEANING)
def test_a_mistake_of_meaning_names_its_entry(models, mistake):
    entries, kind, message = MEANING[mistake]
    with pytest.raises(kind, match=message):
        compiled(graph(entries), models)


def test_all_mistakes_of_meaning_at_once(models):
    text = graph("""
        d: {op: task-vector, inputs: [first, base], foo: 1}
        e: {op: task-vector, inputs: [second, base]}
        s: {op: sparsify, inputs: [e], density: many}
        w: {op: weighted-sum, inputs: [d, s], weights: [1, x]}
        out: {op: add-delta, inputs: [base, w], scael: 2}
    """)
    with pytest.raises(RecipeError) as caught:
        compiled(text, models)
    assert [(problem.what, problem.where) for problem in caught.value.problems] == [
        ("task-vector has no parameter 'foo'", "entry d, $.foo"),
        ("wrong value of parameter 'density'", "entry s, $.density"),
        ("wrong value of parameter 'weight'", "entry w, $.weights[1]"),
        ("add-delta has no parameter 'scael'", "entry out, $.scael"),
    ]


def test_mistakes_of_different_kinds_at_once(models):
    """Neither error class would be right for both."""
    text = graph("""
        a: {op: sparsify, inputs: [base], density: 0.5}
        b: {op: scale, inputs: [base], factor: x}
        out: {op: add-delta, inputs: [b, a]}
    """)
    with pytest.raises(InputError) as caught:
        compiled(text, models)
    assert type(caught.value) is InputError
    assert {problem.where.split(",")[0] for problem in caught.value.problems} == {
        "entry a",
        "entry b",
    }


def test_a_tensor_that_an_entry_lacks_is_told_with_the_entry(models, tmp_path):
    tensors = read_model(models / "first")
    del tensors["model.norm.weight"]
    lacking = write_model(tmp_path / "lacking", tensors, config={"num_hidden_layers": TINY.layers})
    text = graph(f"""
        less: {{op: scale, inputs: [{lacking}], factor: 1}}
        out: {{op: weighted-sum, inputs: [base, less]}}
    """)
    message = r"less has no tensor model\.norm\.weight @ entry out, tensor"
    with pytest.raises(CheckpointError, match=message):
        compiled(text, models)


def test_entries_that_differ_in_depth_are_told_with_the_entry(models):
    sources = "[{model: first, layer_range: [0, 2]}]"
    text = graph(f"""
        short: {{merge_method: passthrough, slices: [{{sources: {sources}}}]}}
        out: {{op: weighted-sum, inputs: [base, short]}}
    """)
    message = r"layers @ entry out, \$\.inputs: got base has 4, short has 2 in model\.layers"
    with pytest.raises(RecipeError, match=message):
        compiled(text, models)


# what entries do


TIES = """{merge_method: ties, base_model: base, models: [
    {model: first, parameters: {weight: 0.5, density: 0.5}},
    {model: second, parameters: {weight: [0.2, 0.8], density: 0.3}}]}"""


def inline(text):
    return " ".join(text.split())


def test_an_entry_is_what_the_recipe_is_alone(models):
    alone = merged(yaml.safe_dump(yaml.safe_load(TIES)), models / "alone")
    entry = merged(graph(f"out: {inline(TIES)}"), models / "as-entry")
    assert entry == alone


def test_a_ties_in_steps_is_the_method(models):
    text = graph("""
        first-delta: {op: task-vector, inputs: [first, base]}
        second-delta: {op: task-vector, inputs: [second, base]}
        first-sparse: {op: sparsify, inputs: [first-delta], density: 0.5}
        second-sparse: {op: sparsify, inputs: [second-delta], density: 0.3}
        all: {op: sign-consensus, inputs: [first-sparse, second-sparse], weights: [0.5, [0.2, 0.8]]}
        out: {op: add-delta, inputs: [base, all]}
    """)
    assert merged(text, models / "steps") == merged(TIES, models / "method")


SLERP_OF_LAYERS = """{merge_method: slerp, base_model: BASE, parameters: {t: [0, 0.5]}, slices: [
    {sources: [{model: BASE, layer_range: [0, 2]}, {model: OTHER, layer_range: [1, 3]}]},
    {sources: [{model: OTHER, layer_range: [0, 1]}, {model: BASE, layer_range: [3, 4]}],
     parameters: {t: 0.3}}]}"""
MODULES = """{merge_method: linear, parameters: {weight: 1}, modules: {
    mlp: {models: [{model: BASE}, {model: OTHER}]}, norm: {models: [{model: OTHER}]}}}"""


@pytest.mark.parametrize("recipe", [SLERP_OF_LAYERS, MODULES], ids=["slices", "modules"])
def test_recipes_of_recipes_are_those_of_stages_on_disk(models, recipe):
    """In fp32 the file between two stages rounds nothing."""
    merged(TIES, models / "stage")
    staged = merged(recipe.replace("BASE", "stage").replace("OTHER", "third"), models / "staged")
    of_entry = inline(recipe.replace("BASE", "t").replace("OTHER", "third"))
    text = graph(f"t: {inline(TIES)}\nout: {of_entry}")
    assert merged(text, models / "at-once") == staged
    reordered = graph(f"out: {of_entry}\nt: {inline(TIES)}")
    assert merged(reordered, models / "in-another-order") == staged


def test_what_entries_share_is_one_node(models):
    text = graph("""
        d: {op: task-vector, inputs: [first, base]}
        again: {op: task-vector, inputs: [first, base]}
        s: {op: sparsify, inputs: [d], density: 0.5}
        sum: {op: weighted-sum, inputs: [s, again, d]}
        out: {op: add-delta, inputs: [base, sum]}
    """)
    made = compiled(text, models).build.graph
    (output,) = (output.node for output in made.outputs if output.name == OUTPUT)
    (total,) = (node for node in made.nodes() if node.op.kind == "weighted-sum"
                and node in ancestors(output))  # fmt: skip
    assert total.inputs[1] is total.inputs[2]
    kinds = [node.op.kind for node in ancestors(output)]
    assert kinds.count("task-vector") == 1
    assert kinds.count("load-tensor") == 2


def ancestors(node):
    """A node and everything below it."""
    found, pending = {node: None}, [node]
    while pending:
        for value in pending.pop().inputs:
            if value not in found:
                found[value] = None
                pending.append(value)
    return list(found)


DOCUMENTS = """\
name: soup
merge_method: linear
models: [{model: first}, {model: second, parameters: {weight: 2}}]
parameters: {weight: 1}
---
name: masked
merge_method: dare_ties
base_model: base
models: [{model: soup, parameters: {density: 0.5}}, {model: third}]
parameters: {weight: 0.5}
---
merge_method: slerp
base_model: soup
models: [{model: masked}]
parameters: {t: [0, 1]}
"""


def as_graph(documents):
    contents = list(yaml.safe_load_all(documents))
    entries = {content.pop("name", "the-last"): content for content in contents}
    return yaml.safe_dump({"graph": entries, "output": next(reversed(entries))}, sort_keys=False)


def test_documents_are_a_graph(models):
    assert merged(DOCUMENTS, models / "documents", seed=4) == merged(
        as_graph(DOCUMENTS), models / "graph", seed=4
    )
    assert merged(DOCUMENTS, models / "documents", seed=5) != weights_digest(models / "graph")


def test_the_last_document_is_the_output_and_may_have_a_name(models):
    named = DOCUMENTS.replace("merge_method: slerp", "name: final\nmerge_method: slerp")
    assert parse_recipe_graph(named).output == "final"
    assert merged(named, models / "named") == merged(DOCUMENTS, models / "nameless")


def test_documents_may_come_before_those_they_use(models):
    first, second, last = DOCUMENTS.split("---\n")
    swapped = "---\n".join([second, first, last])
    assert merged(swapped, models / "swapped") == merged(DOCUMENTS, models / "in-order")


# what is not needed, and defaults


def test_an_entry_that_is_not_needed_is_not_read_and_told_of(models):
    entries = """
        idle: {op: scale, inputs: [nowhere], factor: nonsense}
        idle-too: {merge_method: ties, base_model: idle, models: [{model: third}]}
        out: {op: scale, inputs: [base], factor: 2}
    """
    made = compiled(graph(entries), models)
    assert list(made.models) == [ModelReference("base")]
    (warning,) = made.build.graph.warnings
    assert "2 entries are left out" in warning
    assert {"idle", "idle-too"} <= set(re.findall(r"[\w-]+", warning))
    assert made.recipe.methods == "scale"
    needed = "\n".join(line for line in entries.splitlines() if "idle" not in line)
    assert merged(graph(entries), models / "with") == merged(graph(needed), models / "without")


def test_a_document_that_is_not_needed_is_told_of(models):
    first, _, last = DOCUMENTS.split("---\n")
    last = last.replace("masked", "second")
    unused = "name: idle\nmerge_method: linear\nmodels: [{model: nowhere}]\n"
    made = compiled("---\n".join([first, unused, last]), models)
    (warning,) = made.build.graph.warnings
    assert warning.startswith("1 entry is left out")
    assert "idle" in warning


def test_a_warning_names_its_entry(models):
    text = graph("""
        soup: {merge_method: linear, models: [{model: base, parameters: {weight: 1, density: 1}}]}
        out: {op: scale, inputs: [soup], factor: 2}
    """)
    (warning,) = compiled(text, models).build.graph.warnings
    assert warning.startswith(
        "entry soup: parameter 'density' has no effect on linear @ $.models[0]"
    )


def test_dtypes_of_the_file_are_defaults_of_entries():
    entries = """
        d: {op: task-vector, inputs: [first, base]}
        own: {op: scale, inputs: [d], factor: 2, dtype: float16, out_dtype: float32}
        out: {merge_method: linear, models: [{model: d}, {model: own}]}
    """
    text = graph(entries, rest="dtype: bfloat16\nout_dtype: float16\n")
    found = {entry.name: entry.recipe for entry in parse_recipe_graph(text).entries}
    assert {name: (recipe.dtype, recipe.out_dtype) for name, recipe in found.items()} == {
        "d": (DType.BF16, None),
        "own": (DType.F16, DType.F32),
        "out": (DType.BF16, DType.F16),
    }
    of_entry = graph(entries.replace("linear,", "linear, dtype: float64, out_dtype: float32,"),
                     rest="dtype: bfloat16\nout_dtype: float16\n")  # fmt: skip
    out = parse_recipe_graph(of_entry).final
    assert (out.dtype, out.out_dtype) == (DType.F64, DType.F32)


def test_inputs_are_cast_and_what_is_between_is_not(models):
    """`dtype` rounds what is read, `out_dtype` what is written."""
    text = graph(
        """
        d: {op: task-vector, inputs: [first, base]}
        out: {op: add-delta, inputs: [base, d], scale: 0.5}
        """,
        rest="dtype: bfloat16\nout_dtype: float16\n",
    )
    made = compiled(text, models)
    (output,) = (output.node for output in made.build.graph.outputs if output.name == OUTPUT)
    assert output.spec.dtype is DType.F16
    casts = [
        (n.inputs[0].op.kind, n.op.settings()) for n in ancestors(output) if n.op.kind == "cast"
    ]
    assert sorted(casts) == [
        ("add-delta", "F16"),
        ("cast", "F32"),
        ("cast", "F32"),
        ("load-tensor", "BF16"),
        ("load-tensor", "BF16"),
    ]


def test_a_name_may_look_like_a_reference(models):
    text = graph("""
        d@1: {op: task-vector, inputs: [first, base]}
        d+2: {op: scale, inputs: [d@1], factor: 0.5}
        out: {op: add-delta, inputs: [base, {model: d+2, override_architecture: Llama}]}
    """)
    plain = text.replace("d@1", "d").replace("d+2", "e")
    assert merged(text, models / "odd") == merged(plain, models / "plain")
