"""What goes wrong during a run ends it with the error itself, and with no thread left."""

import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from graphmerge.errors import CheckpointError, MachineError
from graphmerge.execution import engine
from graphmerge.kernels import registry
from graphmerge.ops.arithmetic import WeightedSum
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.pipeline import RunOptions, run
from graphmerge.schedule.executors import Kernels
from graphmerge.testing.merging import Silent, compile_mapping, merge, plan_for
from graphmerge.testing.reads import before_reads
from graphmerge.testing.stored_models import write_model
from graphmerge.units import MIB

N = 6 * BLOCK_ELEMENTS
LIMITS = {"workers": 3, "tile_elements": BLOCK_ELEMENTS}


@pytest.fixture
def models(tmp_path):
    for number, name in enumerate(("a", "b")):
        generator = torch.Generator().manual_seed(number)
        tensors = {f"w{i}": torch.randn(N, generator=generator) for i in range(4)}
        write_model(tmp_path / name, tensors)
    return tmp_path


def linear(*names):
    models = [{"model": name, "parameters": {"weight": 1}} for name in names]
    return {"merge_method": "linear", "models": models}


def ties(density_of_a, density_of_b):
    densities = (("a", density_of_a), ("b", density_of_b))
    models = [
        {"model": name, "parameters": {"weight": 1, "density": density}}
        for name, density in densities
    ]
    return {"merge_method": "ties", "base_model": "base", "models": models}


def workers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("worker-")]


def test_an_error_of_a_kernel_is_raised_as_it_is(models, monkeypatch):
    class OddError(RuntimeError):
        pass

    calls = []

    def failing(op, tile):
        calls.append(op)
        if len(calls) > 5:
            raise OddError("the sixth tile")

    monkeypatch.setitem(registry._KERNELS, WeightedSum, failing)
    with pytest.raises(OddError, match="the sixth tile"):
        merge(linear("a", "b"), models / "out", kernels=Kernels.TORCH, **LIMITS)
    assert not workers()
    assert not (models / "out").exists()


def test_an_error_of_the_sink_is_raised_as_it_is(models, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(MachineError, match="the disk is full"):
        merge(linear("a", "b"), models / "out", **LIMITS)
    assert not workers()


@pytest.mark.parametrize("times", [1, 2, 4])
def test_ctrl_c_stops_the_workers(models, monkeypatch, times):
    """When the interrupt comes out, no worker is inside a read any more, and most is unread."""
    began, inside = [], []
    main = threading.main_thread().ident

    def wait(entries):
        began.append(1)
        inside.append(1)
        if len(began) == 4:
            for _ in range(times):
                signal.pthread_kill(main, signal.SIGINT)
                time.sleep(0.05)
        time.sleep(0.2)
        inside.pop()

    before_reads(wait, monkeypatch.setattr)
    with pytest.raises(KeyboardInterrupt):
        merge(linear("a", "b"), models / "out", **LIMITS)
    assert not inside
    assert not workers()
    assert len(began) < 4 * 6 * 2
    monkeypatch.undo()
    assert merge(linear("a", "b"), models / "out", **LIMITS).out.exists()


def shrink_once_begun(file, size_bytes, patch):
    """Cut a file after a run has looked at it, and before the run reads from it."""
    execute = engine.execute

    def late(*arguments, **options):
        os.truncate(file, file.stat().st_size - size_bytes)
        return execute(*arguments, **options)

    patch(engine, "execute", late)


@pytest.mark.parametrize("tile_elements", [BLOCK_ELEMENTS, 4 * BLOCK_ELEMENTS])
@pytest.mark.parametrize("kernels", [Kernels.AUTO, Kernels.TORCH])
def test_an_input_that_shrinks_during_the_run_is_named(models, tile_elements, kernels, monkeypatch):
    file = models / "b" / "model.safetensors"
    compiled = compile_mapping(linear("a", "b"), models / "recipe.yml")
    plan = plan_for(compiled, workers=3, tile_elements=tile_elements, kernels=kernels)
    shrink_once_begun(file, 4 * BLOCK_ELEMENTS, monkeypatch.setattr)
    message = r"the file ends before byte \d+.*changed.* @ .*b/model\.safetensors, tensor w3"
    with pytest.raises(CheckpointError, match=message):
        run(compiled, plan, models / "out", RunOptions(), Silent())
    assert not workers()
    assert not (models / "out").exists()


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("method", ["della", "arcee_fusion"])
def test_an_input_that_shrinks_is_named_where_whole_rows_are_read(
    tmp_path, method, stored, monkeypatch
):
    for number, name in enumerate(("base", "a", "b")):
        drawn = torch.randn(512, 1024, generator=torch.Generator().manual_seed(number))
        write_model(tmp_path / name, {"w": drawn})
    parameters = {"parameters": {"weight": 1, "density": 0.5}} if method == "della" else {}
    models = [{"model": name, **parameters} for name in ("a", "b")[: 1 + (method == "della")]]
    recipe = {"merge_method": method, "base_model": "base", "models": models}
    compiled = compile_mapping(recipe, tmp_path / "recipe.yml")
    plan = plan_for(compiled, workers=2, **({} if stored else {"tile_elements": BLOCK_ELEMENTS}))
    file = tmp_path / "a" / "model.safetensors"
    shrink_once_begun(file, 5000, monkeypatch.setattr)
    message = r"the file ends before byte \d+.*changed.* @ .*a/model\.safetensors, tensor w"
    with pytest.raises(CheckpointError, match=message):
        run(compiled, plan, tmp_path / "out", RunOptions(), Silent())
    assert not workers()
    assert not (tmp_path / "out").exists()


def test_an_input_that_vanishes_before_the_run_is_named(models):
    compiled = compile_mapping(linear("a", "b"), models / "recipe.yml")
    plan = plan_for(compiled, **LIMITS)
    (models / "a" / "model.safetensors").unlink()
    with pytest.raises((MachineError, CheckpointError), match=r"a/model\.safetensors"):
        run(compiled, plan, models / "out", RunOptions(), Silent())


def test_a_plan_that_does_not_fit_is_not_run(models):
    compiled = compile_mapping(linear("a", "b"), models / "recipe.yml")
    plan = plan_for(compiled, budget_bytes=1000)
    with pytest.raises(ValueError, match="no plan fits"):
        run(compiled, plan, models / "out", RunOptions(), Silent())
    assert not (models / "out.partial").exists()


def not_finite_models(root, value):
    """A base and two fine-tunes; the last has one odd value in its last block."""
    tensors = [torch.randn(N, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    tensors[2][-3] = value
    for name, tensor in zip(("base", "a", "b"), tensors, strict=True):
        write_model(root / name, {"w": tensor})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("densities", [(1, 1), (0.5, 0.5), (0.5, 1), (1, 0.5)], ids=str)
def test_nan_and_infinity_are_reported_whatever_pass_reads_them_first(tmp_path, value, densities):
    """With densities (0.5, 1) only the last pass reads the model that has them."""
    not_finite_models(tmp_path, value)
    merged = merge(ties(*densities), tmp_path / "out", **LIMITS)
    (warning,) = (text for text in merged.report.warnings if "NaN" in text)
    assert warning.startswith("b has NaN or infinity @")
    assert warning.endswith("tensor w")


@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
@pytest.mark.parametrize("kernels", [Kernels.NATIVE, Kernels.TORCH])
def test_nan_and_infinity_are_reported_of_rows_that_are_read_as_they_are(tmp_path, value, kernels):
    not_finite_models(tmp_path, value)
    recipe = {"merge_method": "arcee_fusion", "base_model": "base", "models": [{"model": "b"}]}
    merged = merge(recipe, tmp_path / "out", kernels=kernels)
    (warning,) = (text for text in merged.report.warnings if "NaN" in text)
    assert warning.startswith("b has NaN or infinity @")


@pytest.mark.parametrize("densities", [(1, 1), (0.5, 1)], ids=str)
def test_strict_runs_refuse_nan(tmp_path, densities):
    not_finite_models(tmp_path, float("nan"))
    with pytest.raises(CheckpointError, match="b has NaN or infinity"):
        merge(ties(*densities), tmp_path / "out", options=RunOptions(strict=True), **LIMITS)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("free_memory")
def test_a_tensor_larger_than_the_budget_is_merged(tmp_path):
    """12 MiB of plan for tensors of 40 MiB each."""
    for number, name in enumerate(("a", "b")):
        tensor = torch.randn(10 * MIB, generator=torch.Generator().manual_seed(number))
        write_model(tmp_path / name, {"w": tensor})
    recipes = {
        "slerp": {"models": [{"model": "b"}], "parameters": {"t": 0.3}},
        "ties": {"models": [{"model": "b", "parameters": {"weight": 1, "density": 0.3}}]},
    }
    for method, fields in recipes.items():
        recipe = {"merge_method": method, "base_model": "a", **fields}
        small = merge(recipe, tmp_path / f"{method}-small", budget_bytes=12 * MIB, workers=2)
        large = merge(recipe, tmp_path / f"{method}-large", workers=2)
        assert not small.plan.units[0].kept
        assert large.plan.units[0].kept
        assert torch.equal(small.tensors()["w"], large.tensors()["w"])


def test_a_thread_that_cannot_be_started_ends_the_others(models, monkeypatch):
    start, started = threading.Thread.start, []

    def second_fails(thread):
        if thread.name.startswith("worker-"):
            started.append(thread)
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", second_fails)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        merge(linear("a", "b"), models / "out", **LIMITS)
    assert not workers()


def test_models_may_have_more_files_than_a_process_may_open(tmp_path):
    """The usual limit is 1,024; here a tenth of it."""
    shards, limits = 100, resource.getrlimit(resource.RLIMIT_NOFILE)
    (tmp_path / "a").mkdir()
    for number in range(shards):
        file = tmp_path / "a" / f"model-{number + 1:05}-of-{shards:05}.safetensors"
        save_file({f"w{number}": torch.full((3,), float(number))}, file)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 90, limits[1]))
    try:
        tensors = merge(linear("a", "a"), tmp_path / "out").tensors()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert all(tensors[f"w{number}"].eq(number).all() for number in range(shards))
