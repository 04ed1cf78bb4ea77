"""What docs/tokenizers.md says is so."""

import re
import subprocess
import sys
from pathlib import Path

from graphmerge.recipe.parse import parse_recipe
from graphmerge.recipe.tokenizer import CHAT_TEMPLATES, EMBEDDINGS
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.vocabulary.chat_templates import BUILT_IN

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


def test_the_python_block_runs(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    write_base(tmp_path / "demo" / "base", TINY, seed=0)
    for seed, name in enumerate(("code", "chat"), start=1):
        folder = tmp_path / "demo" / name
        write_fine_tune(folder, tmp_path / "demo" / "base", seed=seed, scale=0.002)
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True)
    template = (tmp_path / "merged-vocabularies" / "chat_template.jinja").read_text()
    assert template == BUILT_IN["chatml"]
