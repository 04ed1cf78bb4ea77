"""CPU time to plan the union of three vocabularies of 128,000 tokens.

Run: .venv/bin/python benchmarks/vocabulary_planning.py [--sentencepiece]
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from attrs import evolve
from sentencepiece import sentencepiece_model_pb2 as messages

from graphmerge.pipeline import compile_recipe
from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import TINY

TOKENS = 128_000
ROUNDS = 5


def write_model(folder: Path, first: int, *, as_pieces: bool) -> None:
    """A model whose header and tokenizer have many tokens, of which the others lack some."""
    write_header_only(folder, evolve(TINY, vocabulary=TOKENS))
    names = [f"token{number}" for number in range(first, first + TOKENS)]
    if as_pieces:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer.model").write_bytes(pieces(names))
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
        return
    merges = [["token", str(number)] for number in range(2 * TOKENS)]
    model = {
        "type": "BPE",
        "vocab": {name: number for number, name in enumerate(names)},
        "merges": merges,
    }
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": [], "model": model}))


def pieces(names: list[str]) -> bytes:
    """A sentencepiece model of tokens, and of the characters in them."""
    letters = sorted(set("".join(names)))
    reserved, plain = ["<unk>", "<s>", "</s>"], [*names[: TOKENS - 3 - len(letters)], *letters]
    message = messages.ModelProto()
    for piece, kind in zip([*reserved, *plain], [2, 3, 3, *[1] * len(plain)], strict=True):
        message.pieces.add(piece=piece, score=-float(len(message.pieces)), type=kind)
    message.trainer_spec.model_type = 2
    message.normalizer_spec.remove_extra_whitespaces = False
    return message.SerializeToString()


def main() -> None:
    """Write three models, plan their union, print the time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(3):
            write_model(
                folder / f"m{number}", number * 10_000, as_pieces="--sentencepiece" in sys.argv
            )
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
