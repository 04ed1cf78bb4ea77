"""What docs/lora.md says is so."""

import re
from pathlib import Path

from graphmerge.recipe.parse import parse_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "lora.md").read_text()


def test_the_recipe_on_the_page_is_valid():
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    recipe = parse_recipe(text)
    names = [str(source.model) for source in recipe.modules[0].slices[0].sources]
    assert names == ["models/base+adapters/code", "models/base+adapters/chat"]
