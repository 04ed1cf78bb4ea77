"""What docs/tokenizers.md says is so."""

import re
from pathlib import Path

from graphmerge.recipe.parse import parse_recipe
from graphmerge.recipe.tokenizer import CHAT_TEMPLATES, EMBEDDINGS

PAGE = (Path(__file__).parents[2] / "docs" / "tokenizers.md").read_text()


def test_the_section_on_the_page_is_valid():
    (section,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    recipe = parse_recipe(f"merge_method: linear\nmodels: [{{model: a}}]\n{section}")
    assert recipe.tokenizer.source == "union"
    assert recipe.tokenizer.tokens["<|im_end|>"].force
    assert recipe.tokenizer.pad_to_multiple_of == 64


def test_every_choice_is_on_the_page():
    for name in (*CHAT_TEMPLATES, *EMBEDDINGS):
        assert f"`{name}`" in PAGE
