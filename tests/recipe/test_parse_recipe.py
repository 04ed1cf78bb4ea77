import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from graphmerge.errors import RecipeError
from graphmerge.recipe import Conditional, ModelReference, load_recipe_graph, parse_recipe

LINEAR = "merge_method: linear\nmodels: [{model: a}]\n"


def problems(text):
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text)
    return {problem.where: problem for problem in caught.value.problems}


def parameters(text):
    return dict(parse_recipe(f"{LINEAR}parameters: {text}").parameters)


def test_all_problems_are_reported_at_once():
    found = problems("""
        merge_methd: linear
        slices:
          - sources:
              - {model: a, layer_range: [3, 1]}
              - {model: b, parameters: {weight: {fliter: mlp, value: 1}}}
              - {layer_range: [0, 2], parameters: {weight: [[1]]}}
        dtype: bf16
        tokenizer: {tokens: {"<pad>": {source: {kind: zeros}}}}
        chat_template: chatlm
    """)
    source = "$.slices[0].sources"
    assert {where: problem.hint for where, problem in found.items()} == {
        "$": "",
        "$.merge_methd": "did you mean 'merge_method'?",
        f"{source}[0].layer_range": "",
        f"{source}[1]": "",
        f"{source}[1].parameters.weight.fliter": "did you mean 'filter'?",
        f"{source}[2]": "",
        f"{source}[2].parameters.weight[0]": "",
        "$.dtype": "did you mean 'bfloat16'?",
        '$.tokenizer.tokens["<pad>"].source.kind': "did you mean 'zero'?",
        "$.chat_template": "did you mean 'chatml'?",
    }
    assert found[f"{source}[0].layer_range"].got == "[3, 1]"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("slices: []", r"models and slices exclude each other @ \$"),
        ("base_model: 7", r"not a text @ \$\.base_model: got 7; .*put it in quotes"),
        ("base_model: {path: a}", r"missing key 'model' @ \$\.base_model"),
        ("dtype: int8", r"unknown dtype @ \$\.dtype: got 'int8'; wanted one of bfloat16, float16"),
        (
            "dtype: torch.int64",
            r"merged as integers @ \$\.dtype: got 'torch.int64'; wanted one of .*, float64 \(leave",
        ),
        (
            "parameters: {weight: [{filter: '', value: 1}]}",
            r"an empty text @ \$\.parameters\.weight\[0\]\.filter: .*\(leave filter out for a ",
        ),
        ("base_model: ''", r"an empty text @ \$\.base_model: got ''; wanted text$"),
        ("out_dtype: torch.bfloat", r"\$\.out_dtype.*did you mean 'bfloat16'"),
        ("tokenizer: {source: a}\ntokenizer_source: b", "tokenizer and tokenizer_source exclude"),
        ("tokenizer: {pad_to_multiple_of: 0}", r"an integer, at least 1"),
        ("tokenizer: {tokens: {x: {source: a, force: 2}}}", r"\$\.tokenizer\.tokens\.x\.force"),
        ("tokenizer: {tokens: {1: {source: a}}}", r"not text @ \$\.tokenizer\.tokens\[1\]"),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: a}}}}",
            "exactly one of token, token_id",
        ),
        ("parameters: [1]", r"not a mapping @ \$\.parameters"),
        ("parameters: {weight: null}", r"not a parameter value @ \$\.parameters\.weight: got None"),
        ("parameters: {weight: {filter: x}}", r"missing key 'value' @ \$\.parameters\.weight"),
        ("x-note: hello", r"unknown key 'x-note' @ \$\.x-note"),
    ],
)
def test_mistakes_at_top_level(change, message):
    with pytest.raises(RecipeError, match=message):
        parse_recipe(LINEAR + change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"not a mapping @ \$"),
        ("- merge_method", r"not a mapping @ \$"),
        ("merge_method: linear", "exactly one of models, slices, modules"),
        ("models: [{model: a}]", r"missing key 'merge_method' @ \$"),
        ("merge_method: x\nmodels: {model: a}", r"\$\.models.*start each entry"),
        ("merge_method: x\nmodels: []", r"at least one entry"),
        ("merge_method: x\nmodels: [{model: a, layer_range: [3, 1]}]", r"not a range of layers"),
        ("merge_method: x\nslices: [{sources: [{model: a}]}]", "missing key 'layer_range'"),
        ("merge_method: x\nmodules: {}", r"no modules @ \$\.modules"),
        ("merge_method: x\nmodules: {text: {}}", r"a key is missing @ \$\.modules\.text"),
        ("merge_method: x\nmodules: {text: null}", r"not a mapping @ \$\.modules\.text"),
    ],
)
def test_mistakes_of_form(text, message):
    with pytest.raises(RecipeError, match=message):
        parse_recipe(text)


def slices(*ranges):
    sources = ", ".join(f"{{model: a, layer_range: {layers}}}" for layers in ranges)
    return parse_recipe(f"merge_method: x\nslices: [{{sources: [{sources}]}}]").modules[0].slices[0]


@pytest.mark.parametrize(
    "layers",
    ["[1, 0]", "[-1, 2]", "[0, 1.5]", "[0]", "[0, 1, 2]", "4", "[0, a]", "[0, '']", "[0, .nan]"],
)
def test_wrong_layer_ranges(layers):
    with pytest.raises(RecipeError, match=r"not a range of layers @ .*layer_range: got"):
        slices(layers)


@pytest.mark.parametrize("layers", ["[0, 3]", "['0', '3']", "[0.0, 3.0]", "[0, '3.0']"])
def test_layers_are_integers_however_they_are_written(layers):
    assert slices(layers).sources[0].layer_range == (0, 3)


def test_a_slice_may_be_empty():
    assert slices("[4, 4]", "[9, 9]").sources[1].layer_range == (9, 9)


def test_sources_of_a_slice_have_equally_many_layers():
    with pytest.raises(RecipeError, match=r"differ .* @ \$\.slices\[0\]\.sources: got \[8, 9\]"):
        slices("[0, 8]", "[0, 9]")


def test_the_same_model_may_come_twice():
    assert len(slices("[0, 8]", "[8, 16]").sources) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", (Conditional(0.5),)),
        ("1e-5", (Conditional("1e-5"),)),
        ("[0, 0.5, 1]", (Conditional((0, 0.5, 1)),)),
        ("{filter: mlp, value: 1}", (Conditional(1, "mlp"),)),
        ("{filter: '*', value: [1, 2]}", (Conditional((1, 2)),)),
        ("[{filter: on, value: 1}, 2]", (Conditional(1, "on"), Conditional(2))),
        ("[{filter: a, value: []}, {value: 2}]", (Conditional(2),)),
    ],
)
def test_forms_of_parameter_values(text, expected):
    assert parameters(f"{{weight: {text}}}") == {"weight": expected}


def test_an_empty_list_counts_as_not_given():
    assert parameters("{weight: [], density: {filter: mlp, value: []}}") == {}


@pytest.mark.parametrize(
    "form", ["models: [{model: a}]", "slices: [{sources: [{model: a, layer_range: [0, 2]}]}]"]
)
def test_the_module_default_is_the_whole_model(form):
    (named,) = parse_recipe(f"merge_method: x\nmodules: {{default: {{{form}}}}}").modules
    (plain,) = parse_recipe(f"merge_method: x\n{form}").modules
    assert named == plain


def test_modules():
    recipe = parse_recipe("""
        merge_method: linear
        modules:
          text:
            models: [{model: a}]
            parameters: {weight: 1}
          "vision tower":
            slices: [{sources: [{model: b, layer_range: [0, 2]}], base_model: c@main}]
    """)
    text, vision = recipe.modules
    assert (text.name, text.is_whole_model, dict(text.parameters)) == (
        "text",
        True,
        {"weight": (Conditional(1),)},
    )
    assert (vision.name, vision.is_whole_model) == ("vision tower", False)
    assert vision.slices[0].base_model == ModelReference("c", "main")
    assert recipe.parameters == {}


def test_null_counts_as_not_given():
    recipe = parse_recipe(f"{LINEAR}base_model: null\ndtype: ~\nparameters:\ntokenizer:\n")
    assert recipe == parse_recipe(LINEAR)


def test_a_chat_template_with_half_a_character_is_refused():
    with pytest.raises(RecipeError, match=r"half of a pair of surrogates @ \$\.chat_template"):
        parse_recipe(f'{LINEAR}chat_template: "\\uD800 {{{{ messages }}}}"')


@pytest.mark.parametrize("template", ["auto", "llama3", "{% for message in messages %}"])
def test_chat_templates(template):
    assert parse_recipe(f"{LINEAR}chat_template: '{template}'").chat_template == template


def test_an_unreadable_file(tmp_path):
    with pytest.raises(RecipeError, match=r"cannot read the recipe @ .*none\.yaml: got No"):
        load_recipe_graph(tmp_path / "none.yaml")


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"not UTF-8 text"):
        load_recipe_graph(path)


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(LINEAR, encoding="utf-8-sig")
    assert load_recipe_graph(path).text == LINEAR


def parses_or_refuses(text):
    """Any exception but RecipeError, such as a TypeError of the parser, fails the test."""
    with contextlib.suppress(RecipeError):
        assert parse_recipe(text).modules


@given(st.text() | st.text("{}[]:,-&*!<>|'\"\\%@#? \n\tabU0x.~"))
def test_any_text_parses_or_is_refused(text):
    parses_or_refuses(text)


KEYS = [
    "merge_method",
    "models",
    "slices",
    "modules",
    "base_model",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer",
    "tokens",
    "tokenizer_source",
    "chat_template",
    "model",
    "layer_range",
    "sources",
    "residual_weight",
    "source",
    "force",
    "kind",
    "token",
    "token_id",
    "path",
    "revision",
    "lora",
    "value",
    "filter",
    "pad_to_multiple_of",
    "weight",
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
scalars |= st.sampled_from(["union", "linear", "a@b+c", "zero", "model_token", "bfloat16"])
values = st.recursive(
    scalars,
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | scalars, part)
    ),
    max_leaves=20,
)
sections = st.dictionaries(st.sampled_from(KEYS), values, max_size=6)


@given(sections)
def test_any_yaml_parses_or_is_refused(section):
    recipe = {"merge_method": "linear", "models": [{"model": "a"}], **section}
    parses_or_refuses(yaml.safe_dump(recipe))


def test_long_values_are_cut_in_messages():
    text = f"{LINEAR}base_model: [&a [{'x' * 999}], &b [*a, *a, *a], &c [*b, *b], [*c, *c, *c]]"
    (problem,) = problems(text).values()
    assert len(problem.got) < 999
