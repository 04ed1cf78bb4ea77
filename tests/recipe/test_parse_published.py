"""Recipes of the kinds that people publish, with the spellings that they use."""

from pathlib import Path

import pytest

from graphmerge.recipe import (
    Conditional,
    ModelReference,
    Module,
    Slice,
    Source,
    TokenizerSettings,
    TokenKind,
    TokenSource,
    load_recipe_graph,
)
from graphmerge.spec import DType

FOLDER = Path(__file__).parent / "published"


def published(name):
    return load_recipe_graph(FOLDER / f"{name}.yaml").final


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_text_and_origin_are_kept(path):
    recipe = load_recipe_graph(path)
    assert recipe.text == path.read_text()
    assert recipe.origin == str(path)


def test_gradient_slerp_with_filters():
    recipe = published("gradient-slerp")
    base, other = (
        ModelReference("mistralai/Mistral-7B-v0.1"),
        ModelReference("HuggingFaceH4/zephyr-7b-beta"),
    )
    part = Slice((Source(base, (0, 32)), Source(other, (0, 32))))
    assert recipe.modules == (Module(None, (part,), is_whole_model=False),)
    assert recipe.merge_method == "slerp"
    assert recipe.base_model == base
    assert recipe.dtype is DType.BF16
    assert recipe.parameters == {
        "t": (
            Conditional((0, 0.5, 0.3, 0.7, 1), "self_attn"),
            Conditional((1, 0.5, 0.7, 0.3, 0), "mlp"),
            Conditional(0.5),
        )
    }


def test_ties_with_density_and_weight_gradients():
    recipe = published("ties")
    (module,) = recipe.modules
    (part,) = module.slices
    assert module.is_whole_model
    assert [source.layer_range for source in part.sources] == [None] * 3
    assert [dict(source.parameters) for source in part.sources] == [
        {"density": (Conditional((1, 0.7, 0.1)),), "weight": (Conditional(1.0),)},
        {"density": (Conditional(0.5),), "weight": (Conditional((0, 0.3, 0.7, 1)),)},
        {
            "density": (Conditional(0.33),),
            "weight": (Conditional(0.5, "mlp"), Conditional(0)),
        },
    ]
    assert recipe.parameters == {
        "normalize": (Conditional(value=True),),
        "int8_mask": (Conditional(value=True),),
    }


def test_frankenmerge():
    recipe = published("frankenmerge")
    orca = ModelReference("psmathur/orca_mini_v3_13b")
    platypus = ModelReference("garage-bAInd/Platypus2-13B", "main")
    assert recipe.modules[0].slices == (
        Slice((Source(orca, (0, 24)),)),
        Slice((Source(platypus, (24, 40)),)),
    )
    assert recipe.dtype is DType.F16
    assert recipe.base_model is None


def test_dare_ties_with_numbers_and_booleans_as_text():
    recipe = published("dare-ties")
    sources = recipe.modules[0].slices[0].sources
    assert sources[0].parameters == {}
    assert sources[2].parameters == {
        "density": (Conditional("0.53"),),
        "weight": (Conditional("3e-1"),),
    }
    assert recipe.parameters["normalize"] == (Conditional("yes"),)
    assert recipe.tokenizer == TokenizerSettings("union")


def test_expanded_form():
    recipe = published("expanded")
    (part,) = recipe.modules[0].slices
    adapter = ModelReference("someone/adapter", "v2")
    assert recipe.base_model == ModelReference("unsloth/Llama-3.1-8B")
    assert part.sources[0].model == ModelReference("unsloth/Llama-3.1-8B-Instruct", None, adapter)
    assert part.sources[0].parameters == {"weight": (Conditional(0.3), Conditional(1, "lm_head"))}
    assert part.parameters == {}
    assert (recipe.dtype, recipe.out_dtype) == (None, DType.F32)
    assert recipe.chat_template == "chatml"


def test_tokenizer_settings_in_full():
    chat = ModelReference("chat/model")
    assert published("expanded").tokenizer == TokenizerSettings(
        "base",
        {
            "<|im_start|>": TokenSource(TokenKind.MODEL, chat, force=True),
            "<|im_end|>": TokenSource(TokenKind.MODEL_TOKEN, chat, token="<|end|>"),
            "<pad>": TokenSource(TokenKind.ZERO),
        },
        pad_to_multiple_of=64,
    )
