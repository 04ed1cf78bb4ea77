"""Model folders with a sentencepiece file, trained by the library itself, and no tokenizer.json."""

import io
import json
import random
from functools import cache

import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2 as messages
from vocabulary_models import EMBEDDING, WIDTH

from graphmerge.testing.stored_models import write_model

LETTERS = "abcdeéf,ß中国人日本語"
LLAMA = {"model_type": "llama", "num_hidden_layers": 1}
LIKE_LLAMA = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
BYTES = LIKE_LLAMA | {"byte_fallback": True}


@cache
def _sentences(letters, seed):
    draw = random.Random(seed)
    words = ["".join(draw.choices(letters, k=draw.randint(1, 6))) for _ in range(300)]
    return [" ".join(draw.choices(words, k=12)) for _ in range(200)]


@cache
def train(kind, size, *, letters=LETTERS, seed=0, **options):
    """The bytes of a model of so many pieces."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_sentences(letters, seed)),
        model_writer=out,
        model_type=kind,
        vocab_size=size,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return out.getvalue()


def library(data):
    """The library's own tokenizer."""
    return sentencepiece.SentencePieceProcessor(model_proto=data)


def edited(data, change):
    """The bytes of a model after a change of its message."""
    message = messages.ModelProto.FromString(data)
    change(message)
    return message.SerializeToString()


def write_folder(
    folder, number, data, settings=None, *, rows=None, config=LLAMA, name="tokenizer.model"
):
    """A model folder: row i of its embedding is 1000 * number + i."""
    rows = rows or library(data).get_piece_size()
    values = (torch.arange(rows) + 1000.0 * number)[:, None].expand(-1, WIDTH)
    tensors = {EMBEDDING: values, "model.layers.0.norm.weight": torch.ones(WIDTH)}
    write_model(folder, tensors, config={"vocab_size": rows, **config})
    (folder / name).write_bytes(data)
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
