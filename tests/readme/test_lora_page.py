"""What docs/lora.md says is so."""

import re
from pathlib import Path

from graphmerge.recipe.parse import parse_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "lora.md").read_text()


def test_the_recipes_on_the_page_are_valid():
    texts = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for recipe in map(parse_recipe, texts):
        names = [str(source.model) for source in recipe.modules[0].slices[0].sources]
        assert names == ["models/base+adapters/code", "models/base+adapters/chat"]
    assert [recipe.merge_method for recipe in map(parse_recipe, texts)] == ["ties", "tsv_m"]
