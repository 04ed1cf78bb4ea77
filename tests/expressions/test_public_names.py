"""What users import. A change here is a decision: their scripts must go on working."""

import subprocess
import sys

import graphmerge

NAMES = [
    "BudgetError", "CheckpointError", "Expression", "GraphError", "GraphmergeError", "InputError",
    "MachineError", "MergeInputs", "MergePlan", "OutputError", "RecipeError", "checkpoint_reader",
    "from_recipe", "interpolate", "load", "merge", "merge_graph", "merge_method", "sign_consensus",
    "sparsifier", "sparsify", "stack_layers", "to_recipe", "weighted_sum",
]  # fmt: skip


def test_the_public_names():
    assert graphmerge.__all__ == NAMES
    assert dir(graphmerge) == NAMES


def test_every_public_name_is_there_and_documented():
    for name in NAMES:
        assert getattr(graphmerge, name).__doc__, name


def test_importing_graphmerge_loads_neither_numpy_nor_anything_of_its_own():
    script = (
        "import sys, graphmerge\n"
        "own = [name for name in sys.modules if name.startswith('graphmerge.')]\n"
        "assert not own and 'numpy' not in sys.modules and 'torch' not in sys.modules, own\n"
        "graphmerge.load\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(graphmerge, "slurp")
