"""Models of every family go in, and come out whole: nothing missing, odd or different.

Each class of transformers is saved twice, merged by three methods through the whole pipeline, and
loaded again. The files are compared with a merge of the files in memory; what transformers then
has in memory, with a merge of the models in memory.
"""

import re

import pytest
import torch
from file_merges import RECIPES, largest_difference, linear, merged_in_memory, recipe_of
from sweep_table import SLOW_VARIANTS, VARIANTS
from tiny_models import load, save_pair

from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import read_model

# DeBERTa compiles functions as it is imported
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in SLOW_VARIANTS]
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def saved_tensors(kind, tensors):
    """Without those that transformers never saves, and computes as it loads."""
    ignored = getattr(kind, "_keys_to_ignore_on_save", None) or ()
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not any(re.search(pattern, name) for pattern in ignored)
    }


@pytest.mark.parametrize("variant", [*VARIANTS, *SLOW])
def test_nothing_is_lost(variant, tmp_path):
    class_name, overrides = (VARIANTS | SLOW_VARIANTS)[variant]
    kind, states = save_pair(class_name, tmp_path, **overrides)
    stored = [read_model(tmp_path / name) for name in ("base", "tuned")]
    tolerance = max(TOLERANCE[x.dtype] for x in stored[0].values() if x.is_floating_point())
    for method in RECIPES:
        out = tmp_path / method.__name__
        merged = merge(recipe_of(method), out)
        assert not merged.plan.graph.omissions
        found, wanted = merged.tensors(), merged_in_memory(method, *stored)
        assert largest_difference(found, wanted) < tolerance
        assert all(tensor.dtype is stored[0][name].dtype for name, tensor in found.items())
        model, odd = load(kind, out)
        assert not odd
        if method is linear:  # commutes with whatever transformers does to tensors as it loads
            in_memory = saved_tensors(kind, merged_in_memory(method, *states))
            loaded = saved_tensors(kind, model.state_dict())
            assert largest_difference(loaded, in_memory) < tolerance
