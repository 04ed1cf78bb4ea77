"""Layers in names that no architecture has, and in checkpoints that contradict themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphmerge.checkpoint import LayerPosition, LayerStack, find_layers, is_after_layers, tied_head
from graphmerge.checkpoint.names import natural_sorted


def blocks(prefix, count, *suffixes):
    return [f"{prefix}{index}.{suffix}" for index in range(count) for suffix in suffixes or ["w"]]


def stacks(layout):
    return [(stack.prefix, stack.count) for stack in layout.stacks]


def test_position_and_new_name():
    layout = find_layers(blocks("model.layers.", 12, "mlp.up.weight"), {"num_hidden_layers": 12})
    stack = LayerStack("model.layers.", 12, "num_hidden_layers")
    position = LayerPosition(stack, 11, "mlp.up.weight")
    assert layout.locate("model.layers.11.mlp.up.weight") == position
    assert layout.locate("model.layers.12.mlp.up.weight") is None
    assert layout.locate("other.layers.1.mlp.up.weight") is None
    assert layout.locate("model.norm.weight") is None
    assert layout.rename("model.layers.11.mlp.up.weight", 3) == "model.layers.3.mlp.up.weight"
    with pytest.raises(ValueError, match=r"model\.norm\.weight is in no layer"):
        layout.rename("model.norm.weight", 3)


def test_outermost_number_is_the_layer():
    names = blocks("layers.", 2, *blocks("mlp.experts.", 8))
    layout = find_layers(names, {"num_hidden_layers": 8})
    assert stacks(layout) == [("layers.", 2)]
    assert layout.locate("layers.1.mlp.experts.7.w").suffix == "mlp.experts.7.w"
    assert layout.rename("layers.1.mlp.experts.7.w", 0) == "layers.0.mlp.experts.7.w"


def test_config_decides_between_lists_whatever_their_size():
    names = blocks("plugins.", 6, "a", "b", "c") + blocks("layers.", 4)
    assert stacks(find_layers(names, {"num_layers": 4})) == [("layers.", 4)]
    assert stacks(find_layers(names, {"num_layers": 6})) == [("plugins.", 6)]
    assert stacks(find_layers(names, {})) == [("plugins.", 6)]


def test_lists_of_one_length():
    """A language model comes first, then the list with most tensors, then the shallowest."""
    config = {"num_layers": 4}
    deep, shallow = blocks("a.b.layers.", 4), blocks("z.layers.", 4)
    assert stacks(find_layers(deep + shallow, config)) == [("z.layers.", 4)]
    deep = blocks("a.b.layers.", 4, "v", "w")
    assert stacks(find_layers(deep + shallow, config)) == [("a.b.layers.", 4)]
    language = blocks("z.z.llm.layers.", 4)
    assert stacks(find_layers(deep + shallow + language, config)) == [("z.z.llm.layers.", 4)]


def test_an_encoder_on_the_side_is_no_stack():
    """Two stacks need a config.json that speaks of an encoder-decoder model."""
    names = blocks("encoder.blocks.", 2) + blocks("decoder.layers.", 4)
    config = {"num_hidden_layers": 4}
    assert stacks(find_layers(names, config)) == [("decoder.layers.", 4)]
    both = [("encoder.blocks.", 2), ("decoder.layers.", 4)]
    assert stacks(find_layers(names, config | {"is_encoder_decoder": True})) == both


def test_vision_tower_never_wins_by_its_number():
    """The text has 4 layers but config.json says 6, which is what the vision tower has."""
    names = blocks("vision_tower.layers.", 6, "a", "b") + blocks("model.layers.", 4)
    layout = find_layers(names, {"num_hidden_layers": 6, "vision_config": {"num_layers": 6}})
    assert stacks(layout) == [("model.layers.", 4)]
    assert layout.note == ("config.json says num_hidden_layers = 6, but model.layers. has 4 layers")


@pytest.mark.parametrize("section", ["text_config", "llm_config", "language_config"])
def test_count_in_a_section(section):
    config = {section: {"num_hidden_layers": 4}, "vision_config": {"num_hidden_layers": 6}}
    layout = find_layers(blocks("visual.blocks.", 6) + blocks("llm.layers.", 4), config)
    assert layout.stacks == (LayerStack("llm.layers.", 4, f"{section}.num_hidden_layers"),)
    assert layout.note == ""


def test_missing_layer_is_noted():
    names = [name for name in blocks("layers.", 4) if name != "layers.2.w"]
    layout = find_layers(names, {"num_hidden_layers": 4})
    assert stacks(layout) == [("layers.", 4)]
    assert layout.note == "no tensor is in layers.2"


def test_list_without_gap_comes_first():
    names = [*blocks("layers.", 3), "head.0.a", "head.0.b", "head.0.c", "head.2.a"]
    assert stacks(find_layers(names, {"num_hidden_layers": 3})) == [("layers.", 3)]


def test_prediction_layers_follow_the_layers():
    """DeepSeek-V3 stores the layer that predicts the next token but one as model.layers.61."""
    names = [*blocks("model.layers.", 5, "mlp.w", "embed_tokens.weight"), "model.norm.weight"]
    config = {"num_hidden_layers": 4, "num_nextn_predict_layers": 1}
    layout = find_layers(names, config)
    assert stacks(layout) == [("model.layers.", 4)]
    assert layout.note.startswith("model.layers.4 and on predict further tokens")
    assert layout.locate("model.layers.4.mlp.w") is None
    assert is_after_layers("model.layers.4.embed_tokens.weight", layout)
    assert stacks(find_layers(names, {"num_hidden_layers": 4})) == [("model.layers.", 5)]


def test_no_layers_at_all():
    layout = find_layers(["embed.weight", "head.weight"], {"num_hidden_layers": 2})
    assert layout.stacks == ()
    assert layout.note == "no tensor name has a layer number"
    assert layout.locate("embed.weight") is None
    assert find_layers([], {}).stacks == ()


def test_decoder_of_an_encoder_decoder_class_alone():
    """BartForCausalLM stores only a decoder, but its config has both counts."""
    config = {"encoder_layers": 6, "decoder_layers": 4, "num_hidden_layers": 6}
    layout = find_layers(blocks("model.decoder.layers.", 4), config)
    assert layout.stacks == (LayerStack("model.decoder.layers.", 4, "decoder_layers"),)
    assert layout.note == ""


@pytest.mark.parametrize("value", ["4", 4.0, True, None, [4], -4, 0])
def test_counts_that_are_no_numbers_are_none(value):
    config = {"num_hidden_layers": value, "num_nextn_predict_layers": value, "text_config": value}
    layout = find_layers(blocks("layers.", 4), config)
    assert layout.stacks == (LayerStack("layers.", 4, ""),)


@pytest.mark.parametrize(
    "name", ["layers.01.w", "layers.1a.w", "layers.1", "layers.-1.w", f"layers.{'9' * 5000}.w"]
)
def test_what_is_no_layer_number(name):
    assert find_layers([name], {}).stacks == ()


segments = st.sampled_from(["model", "layers", "h", "block", "mlp", "weight"])
paths = st.lists(segments, min_size=1, max_size=4).map(".".join)


@given(paths, st.integers(1, 20), st.lists(paths, min_size=1, max_size=3), st.integers(0, 99))
def test_any_block_list_is_found(prefix, count, suffixes, new_index):
    """`rename` there and back is the name itself, for any prefix and any suffixes."""
    names = blocks(f"{prefix}.", count, *suffixes)
    layout = find_layers(names, {"num_hidden_layers": count})
    assert stacks(layout) == [(f"{prefix}.", count)]
    for name in names:
        position = layout.locate(name)
        assert f"{prefix}.{position.index}.{position.suffix}" == name
        if new_index < count:
            assert layout.rename(layout.rename(name, new_index), position.index) == name


@given(st.lists(st.text()), st.dictionaries(st.text(), st.integers()))
def test_any_names_have_some_layout(names, config):
    layout = find_layers(names, config)
    assert all(layout.locate(name) is None or layout.stacks for name in names)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 10**19)), unique=True))
def test_natural_order_is_the_order_of_the_numbers(parts):
    names = [f"{letter}.{number}.w" for letter, number in parts]
    assert natural_sorted(names) == [f"{x}.{number}.w" for x, number in sorted(parts)]


@pytest.mark.parametrize(
    ("config", "is_tied"),
    [
        ({"tie_word_embeddings": True}, True),
        ({"tie_word_embeddings": False}, False),
        ({"text_config": {"tie_word_embeddings": True}}, True),
        ({"vision_config": {"tie_word_embeddings": True}}, False),
        ({"architectures": ["GemmaForCausalLM"]}, True),
        ({"architectures": ["GemmaModel"], "tie_word_embeddings": True}, False),
        ({"architectures": ["GemmaForCausalLM"], "tie_word_embeddings": False}, False),
        ({"architectures": "GemmaForCausalLM", "tie_word_embeddings": "true"}, False),
        ({}, False),
    ],
)
def test_when_the_head_is_tied(config, is_tied):
    names = ["model.embed_tokens.weight", "model.norm.weight"]
    expected = ("lm_head.weight", "model.embed_tokens.weight") if is_tied else None
    assert tied_head(names, config) == expected
    assert tied_head([*names, "lm_head.weight"], config) is None
