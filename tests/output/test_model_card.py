import pytest
import yaml

from graphmerge.output.model_card import model_card
from graphmerge.recipe.values import ModelReference

RECIPE = "merge_method: ties\nmodels:\n- model: org/base\n"


def card(*paths, recipe_text=RECIPE, **arguments):
    models = [ModelReference(path) for path in paths]
    return model_card(
        title="out", method="ties", models=models, recipe_text=recipe_text, **arguments
    )


def front_matter(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_the_hub_sees_models_relation_and_tags():
    assert front_matter(card("org/base", "org/expert-7B_v0.1", "org/base")) == {
        "base_model": ["org/base", "org/expert-7B_v0.1"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["merge", "graphmerge"],
    }


@pytest.mark.parametrize("path", ["/data/private/model", "./models/model", "../a/model", "model"])
def test_a_local_model_is_named_by_its_folder_only(path):
    text = card(path)
    assert "base_model" not in front_matter(text)
    assert "- `model`\n" in text
    assert "private" not in text


def test_a_local_path_that_looks_like_an_id_is_not_listed():
    text = card("models/model", "org/base", local_paths=["models/model"])
    assert front_matter(text)["base_model"] == ["org/base"]
    assert "- `model`\n" in text


def test_revision_and_adapter_are_told():
    model = ModelReference("org/base", revision="v2", lora=ModelReference("org/adapter"))
    text = model_card(title="out", method="linear", models=[model], recipe_text=RECIPE)
    assert (
        "- [org/base](https://huggingface.co/org/base) at `v2` with the adapter `adapter`" in text
    )


def test_the_recipe_is_there_word_for_word():
    assert f"```yaml\n{RECIPE}```\n" in card("org/base")


def test_a_recipe_with_backticks_cannot_leave_its_block():
    recipe = "chat_template: |\n  ```python\n  ```\n"
    assert f"````yaml\n{recipe}````\n" in card("org/base", recipe_text=recipe)
