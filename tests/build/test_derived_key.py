"""The key of a model that a merge makes: random masks depend on it, so it must stay what it is."""

from types import SimpleNamespace

import attrs
import pytest

from graphmerge.build.derived_key import derived_key
from graphmerge.recipe import ModelReference, parse_recipe
from graphmerge.recipe.values import Conditional, Entry, PerTensor, Recipe

TIES = """
merge_method: ties
base_model: base
models:
  - {model: code, parameters: {weight: [0.2, 0.8], density: 0.5}}
  - {model: chat, parameters: {weight: {filter: mlp, value: 1}}}
parameters: {lambda: 1.5, normalize: true}
dtype: bfloat16
tokenizer: {source: base, tokens: {"<|im_start|>": {source: chat}}}
"""


def models_of(recipe, **names):
    """What stands for its models; their keys are their paths where `names` says nothing else."""
    references = Entry("", recipe).references()
    return {ref: SimpleNamespace(key=names.get(ref.path, ref.path)) for ref in references}


def key_of(text, **names):
    """The key of a recipe, with keys of its models that are not their paths in `names`."""
    recipe = parse_recipe(text)
    return derived_key(recipe, models_of(recipe, **names))


def replaced(said, other):
    """The recipe with something in the place of what it says."""
    assert said in TIES
    return TIES.replace(said, other)


def test_the_key_of_a_recipe_is_what_it_was():
    """Another key is other masks: raise NUMERICS_VERSION with this."""
    assert key_of(TIES) == "42316330344f8b73"


@pytest.mark.parametrize(
    ("said", "same"),
    {
        "dtype: bfloat16": "dtype: torch.bfloat16",
        "{source: chat}": "{source: chat, force: false}",
        "{filter: mlp, value: 1}": "{filter: mlp, value: 1.0}",
        "lambda: 1.5, normalize: true": "normalize: true, lambda: 1.5",
        "{model: code,": "{model: {model: code, override_architecture: Llama},",
        "tokenizer:": "chat_template: chatml\ntokenizer:",
    }.items(),
)
def test_what_says_the_same_gives_the_same_key(said, same):
    assert key_of(replaced(said, same)) == key_of(TIES)


def test_a_default_may_be_said_or_left_out():
    plain = "merge_method: linear\nmodels: [{model: base}, {model: code}]\n"
    assert key_of(f"{plain}embeddings: auto\n") == key_of(plain)
    assert key_of(f"{plain}embeddings: crop\n") != key_of(plain)


def test_keys_that_a_later_version_knows_change_nothing():
    recipe = parse_recipe(TIES)
    wider = attrs.make_class(
        "Recipe", {"later": attrs.field(default=None)}, bases=(Recipe,), frozen=True, slots=True
    )
    given = {field.name: getattr(recipe, field.name) for field in attrs.fields(Recipe)}
    models = models_of(recipe)
    assert derived_key(wider(**given), models) == derived_key(recipe, models)
    assert derived_key(wider(**given, later=1), models) != derived_key(recipe, models)


@pytest.mark.parametrize(
    ("said", "other"),
    {
        "merge_method: ties": "merge_method: dare_ties",
        "base_model: base": "base_model: code",
        "[0.2, 0.8]": "[0.8, 0.2]",
        "density: 0.5": "density: 0.25",
        "filter: mlp": "filter: attn",
        "normalize: true": "normalize: false",
        "dtype: bfloat16": "dtype: float16",
        "source: base": "source: union",
        "{source: base,": "{source: {model: base},",
        "{source: chat}": "{source: {kind: zero}}",
        "{source: chat}}": "{source: chat, force: true}}",
    }.items(),
)
def test_what_says_something_else_gives_another_key(said, other):
    assert key_of(replaced(said, other)) != key_of(TIES)


def test_models_count_by_their_keys_and_not_by_their_names():
    renamed = TIES.replace("model: chat", "model: talk").replace("source: chat", "source: talk")
    assert key_of(renamed, talk="chat") == key_of(TIES)
    assert key_of(TIES, chat="other") != key_of(TIES)


def test_an_operation_that_keeps_places_has_the_key_of_its_input():
    models = {ModelReference("code"): SimpleNamespace(key="of the code")}
    keeping = attrs.evolve(parse_recipe(TIES), is_operation=True, merge_method="scale")
    assert derived_key(keeping, models) == "of the code"
    thinned = attrs.evolve(keeping, merge_method="sparsify")
    assert derived_key(thinned, models) != "of the code"


def test_a_function_counts_by_its_name():
    def given(name, value):
        weight = (Conditional(PerTensor(lambda tensor, layer, layers: value, name)),)
        recipe = attrs.evolve(parse_recipe(TIES), parameters={"weight": weight})
        models = models_of(recipe)
        return derived_key(recipe, models)

    assert given("rising", 1) == given("rising", 2) != given("falling", 1)
