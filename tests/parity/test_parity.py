import pytest
from parity_comparison import differences, read_config
from parity_recipes import RECIPES

pytestmark = pytest.mark.parity


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.recipe(text)) for name, text in RECIPES.items()]
)
def test_same_tensors(name, merge):
    assert merge.failure_of_mergekit is None
    merge.run()
    assert differences(*merge.tensors()) == []
    assert changed_by_merges(read_config(merge.ours)) == changed_by_merges(
        read_config(merge.theirs)
    )


def changed_by_merges(config):
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    return layers, config.get("dtype", config.get("torch_dtype")), config["vocab_size"]
