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
    ours, theirs = read_config(merge.ours), read_config(merge.theirs)
    assert sizes(ours) == sizes(theirs)
    if not name.startswith("mixed-"):  # promoted to float32, which only our config.json says
        assert stated_dtype(ours) == stated_dtype(theirs)


def sizes(config):
    return config.get("num_hidden_layers", config.get("n_layer")), config["vocab_size"]


def stated_dtype(config):
    return config.get("dtype", config.get("torch_dtype"))
