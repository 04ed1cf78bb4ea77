"""CPU time to plan the union of three vocabularies of 128,000 tokens.

Run: .venv/bin/python benchmarks/vocabulary_planning.py
"""

import json
import tempfile
import time
from pathlib import Path

from attrs import evolve

from graphmerge.pipeline import compile_recipe
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import TINY

TOKENS = 128_000
ROUNDS = 5


def write_model(folder: Path, first: int) -> None:
    """A model whose header and tokenizer have many tokens, of which the others lack some."""
    write_header_only(folder, evolve(TINY, vocabulary=TOKENS))
    names = [f"token{number}" for number in range(first, first + TOKENS)]
    merges = [["token", str(number)] for number in range(2 * TOKENS)]
    model = {
        "type": "BPE",
        "vocab": {name: number for number, name in enumerate(names)},
        "merges": merges,
    }
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": [], "model": model}))


def main() -> None:
    """Write three models, plan their union, print the time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(3):
            write_model(folder / f"m{number}", number * 10_000)
        models = [{"model": str(folder / f"m{i}"), "parameters": {"weight": 1}} for i in range(3)]
        recipe = {"merge_method": "linear", "models": models, "tokenizer": {"source": "union"}}
        (folder / "recipe.yml").write_text(json.dumps(recipe))
        seconds = []
        for _ in range(ROUNDS):
            started = time.process_time()
            compiled = compile_recipe(folder / "recipe.yml")
            seconds.append(time.process_time() - started)
        print(f"{min(seconds):.2f} to {max(seconds):.2f} s of CPU in {ROUNDS} rounds")
        print("\n".join(compiled.build.graph.notes))


if __name__ == "__main__":
    main()
