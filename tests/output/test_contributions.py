import pytest

from graphmerge.output.contributions import Contribution, contributions


def layer(number, name):
    return f"model.layers.{number}.{name}.weight"


def test_tensors_with_the_same_parameters_are_one_row():
    values = {"weight of a": 1.0, "weight of b": 3, "normalize": True}
    names = ["model.embed_tokens.weight", layer(0, "mlp.up_proj"), layer(1, "mlp.up_proj")]
    assert contributions(dict.fromkeys(names, values)) == [
        Contribution("a", "all", {"weight": "1", "share": "0.25"}),
        Contribution("b", "all", {"weight": "3", "share": "0.75"}),
        Contribution("", "all", {"normalize": "true"}),
    ]


def test_over_layers_the_least_and_the_greatest_value_are_given_the_earlier_first():
    rising = {layer(n, "mlp.up_proj"): {"t": value} for n, value in enumerate([0.1, 0.6, 0.4])}
    falling = {layer(n, "mlp.up_proj"): {"t": value} for n, value in enumerate([0.6, 0.7, 0.1])}
    assert contributions(rising) == [Contribution("", "all", {"t": "0.1 to 0.6"})]
    assert contributions(falling) == [Contribution("", "all", {"t": "0.7 to 0.1"})]


def test_groups_are_named_by_their_beginning_where_they_are_all_of_it():
    attention = [layer(n, f"self_attn.{part}_proj") for n in (0, 1) for part in "qkvo"]
    mlp = [layer(n, f"mlp.{part}_proj") for n in (0, 1) for part in ("up", "gate", "down")]
    rest = ["model.embed_tokens.weight", *(layer(n, "input_layernorm") for n in (0, 1))]
    high = [name for name in (*attention, *mlp) if "o_proj" not in name and "down" not in name]
    values = {
        name: {"weight of a": 0.9 if name in high else 0.4} for name in (*attention, *mlp, *rest)
    }
    assert [(row.tensors, row.values["weight"]) for row in contributions(values)] == [
        ("`self_attn.o_proj`, `mlp.down_proj`, `model.embed_tokens`, `input_layernorm`", "0.4"),
        ("all others", "0.9"),
    ]
    values = {name: {"weight of a": 0.9 if name in attention else 0.4} for name in values}
    values["model.embed_tokens.weight"] = {"weight of a": 0.1}
    assert [row.tensors for row in contributions(values)] == [
        "`self_attn`",
        "`mlp`, `input_layernorm`",
        "`model.embed_tokens`",
    ]


def test_experts_are_one_group():
    values = {layer(0, f"mlp.experts.{n}.w1"): {"weight of a": n} for n in range(1, 4)}
    (row,) = contributions(values)
    assert row.values["weight"] == "1 to 3"


@pytest.mark.parametrize("weights", [(-1, 2), (0, 0), (1, -1)])
def test_there_is_no_share_where_weights_have_no_sum_to_be_parts_of(weights):
    values = {f"weight of {name}": weight for name, weight in zip("ab", weights, strict=True)}
    assert all("share" not in row.values for row in contributions({"x": values}))


def test_an_interpolation_shares_by_its_position():
    values = {layer(n, "mlp.up_proj"): {"t": t} for n, t in enumerate([0.25, 1])}
    assert contributions(values, ends=("t", "first", "last")) == [
        Contribution("", "all", {"t": "0.25 to 1"}),
        Contribution("first", "all", {"share": "0.75 to 0"}),
        Contribution("last", "all", {"share": "0.25 to 1"}),
    ]
