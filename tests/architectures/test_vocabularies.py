"""Models of every family get a union of vocabularies in every tensor that has rows for tokens.

The tuned model of each class has three tokens more, and its rows in another order. What
transformers then has as embedding, head and bias of the output is compared with rows put in order
in memory.
"""

import json

import pytest
import torch
from sweep_table import SLOW_VARIANTS, VARIANTS
from tiny_models import SMALL, load, move, tiny_model

from graphmerge.errors import CheckpointError
from graphmerge.testing.merging import merge

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
BASE, MORE = SMALL["vocab_size"], 3
WITHOUT_TOKENS = {
    "ViTForImageClassification", "Dinov2Model", "DeiTForImageClassification",
    "BeitForImageClassification", "SwinForImageClassification", "ResNetForImageClassification",
    "Wav2Vec2ForCTC", "CLIPModel",  # whose text model is a class of the sweep
    "MllamaForConditionalGeneration",  # refused, see below
}  # fmt: skip
USUAL = (
    "LlamaForCausalLM", "llama with tied weights", "PhiForCausalLM", "GPTNeoXForCausalLM",
    "Gemma3ForConditionalGeneration", "BertForMaskedLM", "T5ForConditionalGeneration",
    "WhisperForConditionalGeneration", "LlavaForConditionalGeneration", "MarianMTModel",
    "T5GemmaForConditionalGeneration",
)  # fmt: skip
ALL = VARIANTS | SLOW_VARIANTS
RARER = [
    pytest.param(name, marks=pytest.mark.slow)
    for name, (class_name, _) in ALL.items()
    if class_name not in WITHOUT_TOKENS and name not in USUAL
]
RECIPE = {
    "merge_method": "linear",
    "models": [
        {"model": "base", "parameters": {"weight": 0.75}},
        {"model": "tuned", "parameters": {"weight": 0.25}},
    ],
    "tokenizer": {"source": "union"},
}


def write_tokenizer(folder, ids):
    model = {"type": "WordLevel", "vocab": ids, "unk_token": "token0"}
    text = json.dumps({"version": "1.0", "added_tokens": [], "model": model})
    (folder / "tokenizer.json").write_text(text)


def vocabulary_tensors(model):
    """Embedding, head and the bias of the head, as transformers has them in memory."""
    head = model.get_output_embeddings()
    found = {"embedding": model.get_input_embeddings().weight}
    if head is not None:
        found["head"] = head.weight
        if getattr(head, "bias", None) is not None:
            found["bias"] = head.bias
    if getattr(model, "final_logits_bias", None) is not None:
        found["final bias"] = model.final_logits_bias[0]
    return {name: tensor.detach().double() for name, tensor in found.items()}


def write_pair(variant, folder):
    """Save the models of a class, and their tokenizers.

    Returns:
        The class, the vocabulary tensors of both in memory, the row of each token in the tuned one.
    """
    class_name, overrides = ALL[variant]
    model = tiny_model(class_name, **overrides)
    row_of = torch.randperm(BASE + MORE, generator=torch.Generator().manual_seed(0)).tolist()
    tensors = []
    for name, rows in (("base", range(BASE)), ("tuned", row_of)):
        if name == "tuned":
            model.resize_token_embeddings(BASE + MORE, mean_resizing=False)
            move(model, 17, 0.02)
        model.save_pretrained(folder / name)
        write_tokenizer(folder / name, {f"token{i}": row for i, row in enumerate(rows)})
        tensors.append(vocabulary_tensors(model))
    return type(model), tensors, row_of


@pytest.mark.parametrize("variant", [*USUAL, *RARER])
def test_rows_follow_their_tokens(variant, tmp_path):
    kind, tensors, row_of = write_pair(variant, tmp_path)
    merge(RECIPE, tmp_path / "out")
    loaded, odd = load(kind, tmp_path / "out")
    assert not odd
    found, (base, tuned) = vocabulary_tensors(loaded), tensors
    assert found.keys() == tuned.keys()
    for name, tensor in found.items():
        of_tuned = tuned[name][row_of[:BASE] + sorted(row_of[BASE:])]
        of_base = torch.cat((base[name], of_tuned[BASE:]))
        wanted = 0.75 * of_base + 0.25 * of_tuned
        limit = 2e-2 if loaded.dtype is not torch.float32 else 2e-6
        torch.testing.assert_close(tensor, wanted, rtol=0, atol=limit)


@pytest.mark.parametrize("section", [{}, {"embeddings": "crop"}])
def test_rows_for_images_are_not_lost(section, tmp_path):
    write_pair("MllamaForConditionalGeneration", tmp_path)
    recipe = RECIPE if not section else {**RECIPE, **section, "tokenizer": None}
    with pytest.raises(CheckpointError, match="has rows for images after those for tokens"):
        merge(recipe, tmp_path / "out")
