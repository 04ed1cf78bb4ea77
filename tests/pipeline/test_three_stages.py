"""Two TIES merges, interpolated, their layers stacked: one plan instead of stages through disk.

One plan reads every input once, and nothing in between. With the memory that the stages take, it
takes less than they do, for models of real size. With more memory it may take more than they would,
as it keeps five inputs of a tensor instead of three; the least that it needs is a few MiB more.
"""

import pytest
import torch

import graphmerge as gm
from graphmerge import calibration
from graphmerge.testing.checkpoints import write_base, write_fine_tune, write_header_only
from graphmerge.testing.llama_shapes import LLAMA_7B, LlamaShape
from graphmerge.testing.merging import compile_mapping, merge, plan_for
from graphmerge.testing.stored_models import weights_digest
from graphmerge.units import GIB, MIB

SMALL = LlamaShape(4, 128, 344, vocabulary=512, heads=4, kv_heads=2)
STORED = ("base", "tuned1", "tuned2", "tuned3", "tuned4")
AMPLE_BYTES = 64 * GIB


def ties(*names):
    models = [{"model": name, "parameters": {"weight": 0.5, "density": 0.4}} for name in names]
    return {"merge_method": "ties", "base_model": "base", "models": models}


def stages(layers):
    """Recipes by the name of their output; the last two use the ones before."""
    halves = ([0, layers * 3 // 4], [layers // 4, layers])
    return {
        "first": ties("tuned1", "tuned2"),
        "second": ties("tuned3", "tuned4"),
        "between": {
            "merge_method": "slerp",
            "base_model": "first",
            "models": [{"model": "second"}],
            "parameters": {"t": [0.2, 0.8]},
        },
        "stacked": {
            "merge_method": "passthrough",
            "slices": [{"sources": [{"model": "between", "layer_range": half}]} for half in halves],
        },
    }


def at_once(layers):
    return {"graph": stages(layers), "output": "stacked"}


@pytest.fixture(scope="module", params=["F32", "BF16"])
def runs(request, tmp_path_factory):
    """Folder with the models; what running stage after stage did, and what running at once did."""
    folder = tmp_path_factory.mktemp(request.param)
    write_base(folder / "base", SMALL, seed=0, dtype=request.param)
    for seed, name in enumerate(STORED[1:], start=1):
        write_fine_tune(folder / name, folder / "base", seed=seed, scale=0.01)
    staged = {name: merge(stage, folder / name) for name, stage in stages(SMALL.layers).items()}
    return folder, request.param, staged, merge(at_once(SMALL.layers), folder / "at-once")


def test_one_plan_reads_every_input_once_and_nothing_in_between(runs):
    folder, _, staged, whole = runs
    sizes = {name: tensor_bytes(folder / name) for name in STORED}
    assert whole.report.read_bytes == whole.plan.read_bytes == sum(sizes.values())
    stage_reads = [merged.report.read_bytes for merged in staged.values()]
    assert whole.report.read_bytes < sum(stage_reads)
    assert whole.report.written_bytes == staged["stacked"].report.written_bytes


def tensor_bytes(folder):
    return sum(gm.load(folder).spec(name).nbytes for name in gm.load(folder).tensor_names)


def test_the_output_is_that_of_the_stages_but_for_their_rounding(runs):
    _, dtype, staged, whole = runs
    expected, found = staged["stacked"].tensors(), whole.tensors()
    assert expected.keys() == found.keys()
    if dtype == "F32":
        assert weights_digest(whole.out) == weights_digest(staged["stacked"].out)
        return
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=2**-6, atol=2**-9)


def test_the_same_in_python_is_the_same_to_the_byte(runs, tmp_path, monkeypatch):
    folder, _, _, whole = runs
    monkeypatch.chdir(folder)
    own = {"base": "base", "weight": 0.5, "density": 0.4}
    first, second = (gm.merge("ties", STORED[place : place + 2], **own) for place in (1, 3))
    between = gm.merge("slerp", [second], base=first, t=[0.2, 0.8])
    gm.stack_layers([(between, 0, 3), (between, 1, 4)]).save(tmp_path / "out")
    assert weights_digest(tmp_path / "out") == weights_digest(whole.out)


def test_layers_that_are_stacked_twice_are_computed_once(runs):
    """A unit of the plan for every tensor, not for every place that it goes to."""
    folder, _, _, whole = runs
    places = {len(unit.unit.outputs) for unit in whole.plan.units}
    assert places == {1, 2}
    assert len(whole.plan.units) == len(gm.load(folder / "base").tensor_names)


@pytest.fixture(scope="module", params=["F32", "BF16"])
def headers(request, tmp_path_factory):
    """Folder with models of 7 billion parameters, and all that comes between; headers only."""
    folder = tmp_path_factory.mktemp(f"headers-{request.param}")
    for name in (*STORED, "first", "second", "between"):
        write_header_only(folder / name, LLAMA_7B, dtype=request.param)
    return folder


@pytest.fixture
def uncalibrated(monkeypatch, tmp_path):
    """What a process takes beside tensors is the default, not what was measured here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def plans(folder, budget_bytes, workers):
    """The plans of the stages, and of all at once."""
    limits = {"workers": workers, "reserved_for": calibration.assumed}
    compiled = {
        name: compile_mapping(stage, folder / f"{name}.yml")
        for name, stage in (stages(LLAMA_7B.layers) | {"whole": at_once(LLAMA_7B.layers)}).items()
    }
    made = {
        name: plan_for(one, budget_bytes=budget_bytes, **limits) for name, one in compiled.items()
    }
    whole = made.pop("whole")
    highest = max(plan.memory.predicted_peak_bytes for plan in made.values())
    at_highest = plan_for(compiled["whole"], budget_bytes=highest, **limits)
    return list(made.values()), whole, at_highest


@pytest.mark.parametrize("workers", [1, 4])
def test_with_the_memory_of_the_stages_peak_and_reads_are_below_theirs(
    headers, workers, uncalibrated
):
    staged, ample, whole = plans(headers, AMPLE_BYTES, workers)
    highest = max(plan.memory.predicted_peak_bytes for plan in staged)
    assert whole.fits
    assert whole.memory.predicted_peak_bytes < highest
    assert whole.read_bytes < sum(plan.read_bytes for plan in staged)
    assert ample.read_bytes < whole.read_bytes, "more memory saves more reads"
    inputs = 5 * staged[0].written_bytes
    assert ample.read_bytes == inputs


def test_the_least_memory_is_that_of_the_stages_and_the_statistics_of_one_more(
    headers, uncalibrated
):
    """Two TIES are in progress at once, so the histograms of two.

    And Python objects: a stage plans tensors of one kind as one, the whole stacks layers twice.
    """
    staged, whole, _ = plans(headers, None, 1)
    highest = max(plan.memory.predicted_peak_bytes for plan in staged)
    assert whole.memory.predicted_peak_bytes <= highest + 32 * MIB
