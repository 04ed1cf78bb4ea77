"""An adapter that has brought a tokenizer is merged by the tokens of that one."""

import yaml
from tokenizers import Tokenizer

from graphmerge.pipeline import RunOptions, compile_recipe, run
from graphmerge.testing.adapters import write_adapter
from graphmerge.testing.byte_tokenizer import write_tokenizer
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import TINY
from graphmerge.testing.merging import Silent, plan_for


def test_tokens_that_an_adapter_has_added_stay(tmp_path):
    write_base(tmp_path / "base", TINY, seed=0)
    write_fine_tune(tmp_path / "other", tmp_path / "base", seed=1, scale=0.01)
    write_adapter(tmp_path / "tool", tmp_path / "base", rank=2, seed=2)
    first = write_tokenizer(tmp_path / "base")
    for name in ("other", "tool"):
        write_tokenizer(tmp_path / name, extra_tokens=[f"<{name}>"])
    names = [f"{tmp_path}/base+{tmp_path}/tool", f"{tmp_path}/other"]
    models = [{"model": name, "parameters": {"weight": 1}} for name in names]
    content = {"merge_method": "linear", "models": models, "tokenizer": {"source": "union"}}
    path, out = tmp_path / "recipe.yml", tmp_path / "out"
    path.write_text(yaml.safe_dump(content))
    compiled = compile_recipe(path)
    run(compiled, plan_for(compiled), out, RunOptions(), Silent())
    made = Tokenizer.from_file(str(out / "tokenizer.json"))
    assert made.encode("<tool><other>").ids == [first, first + 1]
