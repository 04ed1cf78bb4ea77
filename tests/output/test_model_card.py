import pytest
import yaml
from attrs import evolve

from graphmerge.output import Card, CardLayers, CardPart, CardStep, model_card
from graphmerge.output.contributions import Contribution

RECIPE = "merge_method: ties\nmodels:\n- model: org/base\n"
APACHE = {"license": "apache-2.0"}
TIES = CardStep("", "ties", "Trims.")


def card(*parts, recipe_text=RECIPE, steps=(TIES,), library="transformers", use="x = 1"):
    return Card(
        title="out",
        models={part.name: (part,) for part in parts or (CardPart("model"),)},
        steps=steps,
        recipe_text=recipe_text,
        library=library,
        use=use,
    )


def hub(name, **said):
    return CardPart(name, is_hub=True, card=said)


def front_matter(one):
    return yaml.safe_load(model_card(one).split("---\n")[1])


def test_the_hub_sees_models_relation_library_and_tags():
    assert front_matter(card(hub("org/base"), hub("org/expert-7B_v0.1"), CardPart("mine"))) == {
        "base_model": ["org/base", "org/expert-7B_v0.1"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["merge", "graphmerge"],
    }
    assert front_matter(card(CardPart("mine"), library="diffusers")) == {
        "library_name": "diffusers",
        "tags": ["merge", "graphmerge"],
    }


def test_a_licence_is_stated_where_all_models_have_it():
    assert front_matter(card(hub("a/a", **APACHE), hub("b/b", **APACHE)))["license"] == "apache-2.0"
    custom = {"license": "other", "license_name": "own", "license_link": "LICENSE"}
    assert custom.items() <= front_matter(card(CardPart("a", card=custom))).items()


@pytest.mark.parametrize(
    "other",
    [{}, {"license": "mit"}, {"license": "apache-2.0", "license_name": "changed"}, {"x": 1}],
)
def test_no_licence_is_stated_where_one_model_differs_or_says_nothing(other):
    one = card(hub("a/a", **APACHE), hub("b/b", **other))
    assert "license" not in front_matter(one)
    assert "| [a/a](https://huggingface.co/a/a) | apache-2.0 |" in model_card(one)


def test_licences_are_told_model_by_model():
    stated = [{"license": "other", "license_name": "llama2"}, {"license": ["mit", "gpl"]}, {}]
    text = model_card(card(*(CardPart(f"m{n}", card=said) for n, said in enumerate(stated))))
    assert "| `m0` | llama2 |\n| `m1` | mit, gpl |\n| `m2` | not stated |\n" in text
    assert "is for you to check" in text


def test_revision_and_adapter_are_told():
    base = CardPart("org/base", is_hub=True, revision="v2")
    one = evolve(card(), models={"x": (base, CardPart("adapter"))})
    assert (
        "- [org/base](https://huggingface.co/org/base) at `v2` with the adapter `adapter`\n"
        in model_card(one)
    )
    assert front_matter(one)["base_model"] == ["org/base"]


def test_contributions_are_a_table_of_the_parameters_that_models_have():
    rows = [
        Contribution("", "all", {"lambda": "1"}),
        Contribution("", "`mlp`", {"t": "0 to 1"}),
        Contribution("org/a", "all", {"weight": "0.5", "share": "0.25"}),
        Contribution("mine", "`mlp`", {"weight": "1.5", "density": "0.2"}),
    ]
    step = CardStep("tied", "ties", "Trims.", "org/base", rows)
    text = model_card(card(hub("org/base"), hub("org/a"), CardPart("mine"), steps=(step,)))
    assert "### tied\n\n`ties`: Trims.\n\n- lambda 1\n- t 0 to 1 (`mlp`)\n\n" in text
    assert "The base is [org/base](https://huggingface.co/org/base).\n" in text
    assert (
        "| model | tensors | weight | share | density |\n|---|---|---|---|---|\n"
        "| [org/a](https://huggingface.co/org/a) | all | 0.5 | 0.25 |  |\n"
        "| `mine` | `mlp` | 1.5 |  | 0.2 |\n" in text
    )


def test_stacked_layers_are_told_with_the_same_model_twice():
    layers = [CardLayers("0 to 23", [("a", "0 to 23")]), CardLayers("24", [("a#2", "7")])]
    text = model_card(card(CardPart("a"), steps=(CardStep("", "x", "y", layers=layers),)))
    assert "| 0 to 23 | `a`: 0 to 23 |\n| 24 | `a` (2): 7 |\n" in text
    assert "No model has weights" not in text


def test_a_method_without_weights_says_so():
    assert "No model has weights here" in model_card(card(CardPart("a")))


def test_the_code_to_load_it_is_there_or_the_library_is_named():
    assert "```python\nx = 1\n```\n" in model_card(card())
    assert "Load it with `odd`.\n" in model_card(card(library="odd", use=""))


def test_the_recipe_is_there_word_for_word():
    assert f"```yaml\n{RECIPE}```\n" in model_card(card())


def test_a_recipe_with_backticks_cannot_leave_its_block():
    recipe = "chat_template: |\n  ```python\n  ```\n"
    assert f"````yaml\n{recipe}````\n" in model_card(card(recipe_text=recipe))


def test_a_bar_in_a_name_stays_in_its_cell():
    assert "| `a\\|b` | not stated |" in model_card(card(CardPart("a|b")))
