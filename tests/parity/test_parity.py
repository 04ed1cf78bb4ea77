import json

import pytest
from graphmerge_run import run_graphmerge
from parity_comparison import differences, load_checkpoint, read_config
from parity_recipes import RECIPES

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def theirs(request, run_mergekit):
    """mergekit's outputs of the selected recipes."""
    chosen = [
        item.callspec.params["name"]
        for item in request.session.items
        if getattr(item, "originalname", "") == "test_same_tensors"
    ]
    return run_mergekit({name: RECIPES[name] for name in chosen})


@pytest.mark.parametrize("name", RECIPES)
def test_same_tensors(name, theirs, models):
    assert json.loads((theirs / f"{name}.json").read_text()) is None, "mergekit fails"
    ours = models / "graphmerge" / name
    run_graphmerge(models / f"{name}.yml", ours)
    assert differences(load_checkpoint(ours), load_checkpoint(theirs / name)) == []
    assert shape_of(read_config(ours)) == shape_of(read_config(theirs / name))


def shape_of(config):
    """What a merge changes in a config."""
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    return layers, config.get("dtype", config.get("torch_dtype")), config["vocab_size"]
