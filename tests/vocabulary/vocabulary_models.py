"""Tiny models whose embedding rows name their origin: row i of model k is k * 1000 + i."""

import json

import torch
import transformers
from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from graphmerge import pipeline
from graphmerge.testing.merging import Silent, plan_for
from graphmerge.testing.stored_models import write_model as write_tensors

WIDTH = 8
EMBEDDING = "model.embed_tokens.weight"
MODELS = {"base": 1, "x": 10_000}
"""Two models, with weights that keep their rows apart in a sum."""


def bpe(letters, merges):
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(("<unk>", *letters)))}
    for first, second in merges:
        vocabulary.setdefault(first + second, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def word_piece(words):
    vocabulary = {token: i for i, token in enumerate(("[UNK]", *words))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def unigram(pieces):
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), *pieces], 0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def write_model(folder, number, tokenizer, added=(), *, rows=None, tied=False, template=None):
    """A model folder; `rows` are more than there are tokens where the embedding is padded."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in added])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    if template:
        fast.chat_template = template
    fast.save_pretrained(folder)
    rows = rows or tokenizer.get_vocab_size()
    config = transformers.LlamaConfig(
        hidden_size=WIDTH,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        vocab_size=rows,
        bos_token_id=0,
        eos_token_id=number,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(0)  # all models agree beside their vocabularies
    model = transformers.LlamaForCausalLM(config)
    names = torch.arange(rows)[:, None].expand(-1, WIDTH) + 1000.0 * number
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(names)
        if not tied:
            model.lm_head.weight.copy_(-names)
    model.save_pretrained(folder)


def write_named(folder, number, tokenizer, roles, config, added=()):
    """A model of vocabulary tensors alone: row i of one with factor f is f * (number * 1000 + i).

    `roles` are the factor and the number of axes of each tensor, by its name.
    """
    folder.mkdir(parents=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in added])
    tokenizer.save(str(folder / "tokenizer.json"))
    rows = torch.arange(tokenizer.get_vocab_size()) + 1000.0 * number
    tensors = {
        name: factor * (rows if axes == 1 else rows[:, None].expand(-1, WIDTH))
        for name, (factor, axes) in roles.items()
    }
    tensors["model.layers.0.norm.weight"] = torch.ones(WIDTH)
    write_tensors(folder, tensors, config=config | {"num_hidden_layers": 1})


def recipe(folder, tokenizer, weights=MODELS, *, base="base", **keys):
    """A sum of models of a folder, its vocabulary combined unless `tokenizer` is None."""
    listed = [
        {"model": str(folder / name), "parameters": {"weight": weight}}
        for name, weight in weights.items()
    ]
    content = {"merge_method": "linear", "models": listed, "base_model": str(folder / base)}
    content |= {"parameters": {"normalize": False}, "dtype": "float64"}
    content |= {} if tokenizer is None else {"tokenizer": tokenizer}
    return json.dumps(content | keys)


def merge(folder, text, **options):
    """Run a recipe; the folder that comes out, and the notes of the plan."""
    (folder / "recipe.yml").write_text(text)
    compiled = pipeline.compile_recipe(folder / "recipe.yml")
    plan = plan_for(compiled, **options)
    out = folder / "out"
    pipeline.run(compiled, plan, out, pipeline.RunOptions(overwrite=True), Silent())
    return out, compiled.build.graph.notes


def embedding(out, name=EMBEDDING):
    """The first column of a vocabulary tensor, or all of one that has a single axis."""
    found = load_file(out / "model.safetensors")[name].double()
    return found if found.ndim == 1 else found[:, 0]


def by_token(out, name=EMBEDDING):
    """The row of every token of an output, by its tokenizer.json."""
    rows = embedding(out, name).tolist()
    vocabulary = Tokenizer.from_file(str(out / "tokenizer.json")).get_vocab()
    return {token: rows[number] for token, number in vocabulary.items()}


def config_of(out):
    return json.loads((out / "config.json").read_text())
