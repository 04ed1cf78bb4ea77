import json

import pytest

from graphmerge.checkpoint.layer_config import with_layers
from graphmerge.errors import CheckpointError
from graphmerge.output.side_files import copy_side_files, output_config, write_config
from graphmerge.spec import DType

LLAMA = {
    "architectures": ["LlamaForCausalLM", "Other"],
    "eos_token_id": [1, 2],
    "num_hidden_layers": 2,
    "layer_types": ["full", "sliding"],
    "torch_dtype": "float32",
    "vocab_size": 10,
}
COUNT = "num_hidden_layers"


def test_without_changes_the_config_stays():
    assert with_layers(LLAMA, COUNT, [0, 1]) == LLAMA
    assert output_config(LLAMA) == LLAMA


def test_layers_and_their_lists_follow_the_sources():
    config = with_layers(LLAMA, COUNT, [1, 0, 1])
    expected = {"num_hidden_layers": 3, "layer_types": ["sliding", "full", "sliding"]}
    assert config == LLAMA | expected
    assert LLAMA["layer_types"] == ["full", "sliding"]


def test_a_dotted_key_reaches_into_its_section_only():
    donor = {"layer_types": ["x", "y"], "text_config": dict(LLAMA), "vision_config": dict(LLAMA)}
    key = f"text_config.{COUNT}"
    config = with_layers(donor, key, [1])
    assert config["text_config"] == LLAMA | {COUNT: 1, "layer_types": ["sliding"]}
    assert config["vision_config"] == LLAMA
    assert config["layer_types"] == ["x", "y"]
    assert donor["text_config"] == LLAMA


def test_a_key_that_the_donor_lacks_is_named():
    with pytest.raises(CheckpointError, match=r"no such key @ text_config\.num_hidden_layers"):
        with_layers(LLAMA, f"text_config.{COUNT}", [0])


def test_a_source_beyond_the_donor_is_named():
    with pytest.raises(CheckpointError, match="layer_types has no such layer @ num_hidden_layers"):
        with_layers(LLAMA, COUNT, [2])


SOURCES = [0, 1, 2, 1, 2, 3]
"""Four layers become six."""


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"mlp_only_layers": [1]}, {"mlp_only_layers": [1, 3]}),
        ({"moe_layers": [0, 1, 2, 3]}, {"moe_layers": [0, 1, 2, 3, 4, 5]}),
        ({"first_k_dense_replace": 1}, {"first_k_dense_replace": 1}),
        ({"first_k_dense_replace": 3}, {"first_k_dense_replace": 5}),
        ({"first_k_dense_replace": 9}, {"first_k_dense_replace": 9}),
        ({"first_k_dense_replace": 4}, {"first_k_dense_replace": 6}),
        ({"max_window_layers": 2}, {"max_window_layers": 2}),
        ({"decoder_sparse_step": 1}, {"decoder_sparse_step": 1}),
        ({"hybrid_override_pattern": "M*-E"}, {"hybrid_override_pattern": "M*-*-E"}),
        ({"conv_dim": [1, 2, 3, 4]}, {"conv_dim": [1, 2, 3, 4]}),
        (
            {"model_type": "gemma3_text", "sliding_window_pattern": 3},
            {
                "model_type": "gemma3_text",
                "sliding_window_pattern": 3,
                "layer_types": [
                    f"{kind}_attention"
                    for kind in ("sliding", "sliding", "full", "sliding", "full", "sliding")
                ],
            },
        ),
    ],
    ids=str,
)
def test_rules_for_layers_follow_the_sources(rule, expected):
    assert with_layers({COUNT: 4, **rule}, COUNT, SOURCES) == {COUNT: 6, **expected}


@pytest.mark.parametrize(
    ("rule", "sources"),
    [
        ({"first_k_dense_replace": 1}, [0, 1, 0, 1]),
        ({"max_window_layers": 2, "use_sliding_window": True}, SOURCES),
        ({"decoder_sparse_step": 2}, [0, 1, 2, 2]),
        ({"attn_layer_period": 4}, [2, 3]),
    ],
    ids=str,
)
def test_an_order_that_a_rule_cannot_describe_is_refused(rule, sources):
    key = next(iter(rule))
    with pytest.raises(CheckpointError, match=f"layers in this order @ part.{key}"):
        with_layers({"part": {COUNT: 4, **rule}}, f"part.{COUNT}", sources)


@pytest.mark.parametrize(
    ("donor", "expected"),
    [
        ({}, {"torch_dtype": "bfloat16"}),
        ({"dtype": "float32"}, {"dtype": "bfloat16"}),
        ({"torch_dtype": "a", "dtype": "b"}, {"torch_dtype": "bfloat16", "dtype": "bfloat16"}),
        (
            {"dtype": "a", "text_config": {"dtype": "a"}, "vision_config": {}},
            {"dtype": "bfloat16", "text_config": {"dtype": "bfloat16"}, "vision_config": {}},
        ),
        (
            {"dtype": "a", "quantization_config": {"dtype": "a"}},
            {"dtype": "bfloat16", "quantization_config": {"dtype": "a"}},
        ),
    ],
)
def test_the_dtype_is_set_where_it_was(donor, expected):
    assert output_config(donor, dtype=DType.BF16) == expected


@pytest.mark.parametrize(
    ("donor", "expected"),
    [
        ({"vocab_size": 1}, {"vocab_size": 7}),
        ({}, {"vocab_size": 7}),
        ({"text_config": {"vocab_size": 1}}, {"text_config": {"vocab_size": 7}}),
        (
            {"vocab_size": 1, "text_config": {"vocab_size": 1}},
            {"vocab_size": 7, "text_config": {"vocab_size": 7}},
        ),
    ],
)
def test_the_vocabulary_size_is_set_where_it_was(donor, expected):
    assert output_config(donor, vocabulary_size=7) == expected


def test_side_files_keep_their_places_and_links_are_followed(tmp_path):
    donor, partial = tmp_path / "donor", tmp_path / "partial"
    (donor / "templates").mkdir(parents=True)
    partial.mkdir()
    (tmp_path / "blob").write_text("content")
    (donor / "tokenizer.json").symlink_to(tmp_path / "blob")
    (donor / "templates" / "a.jinja").write_text("template")
    files = [donor / "tokenizer.json", donor / "templates" / "a.jinja"]
    copy_side_files(files, partial, donor=donor)
    assert not (partial / "tokenizer.json").is_symlink()
    assert (partial / "tokenizer.json").read_text() == "content"
    assert (partial / "templates" / "a.jinja").read_text() == "template"


def test_the_config_is_written_as_json(tmp_path):
    write_config(tmp_path, LLAMA)
    assert json.loads((tmp_path / "config.json").read_text()) == LLAMA
