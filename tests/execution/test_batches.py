"""Small tensors are worked on in batches, with the bytes and messages each alone would have."""

import os

import pytest
import torch

from graphmerge.errors import CheckpointError, MachineError
from graphmerge.execution.batches import take_batch
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.sparsify import RandomDrop
from graphmerge.pipeline import RunOptions
from graphmerge.schedule.batching import MOST_TENSORS, most_at_once
from graphmerge.schedule.executors import Kernels
from graphmerge.testing.merging import compile_mapping, merge, plan_for
from graphmerge.testing.stored_models import read_model, same_bytes, write_model

COUNT = 2 * MOST_TENSORS + 5
LINEAR = {
    "merge_method": "linear",
    "models": [{"model": name, "parameters": {"weight": 0.3}} for name in ("a", "b")],
}
MASKED = {
    "merge_method": "dare_linear",
    "base_model": "a",
    "models": [{"model": "b", "parameters": {"weight": 0.3, "density": 0.5}}],
    "parameters": {"rescale": False},
}
COPIES = {"merge_method": "passthrough", "models": [{"model": "b"}]}
SLERP = {
    "merge_method": "slerp",
    "base_model": "a",
    "models": [{"model": "b"}],
    "parameters": {"t": 0.4},
}


def write_models(root, *, odd=None, value=float("nan"), shapes=((7, 5),)):
    """Two models of many small tensors; the second has an odd value in one of them."""
    for seed, model in enumerate(("a", "b")):
        generator = torch.Generator().manual_seed(seed)
        tensors = {
            f"w{i}": torch.randn(shapes[i % len(shapes)], generator=generator) for i in range(COUNT)
        }
        if model == "b" and odd is not None:
            tensors[f"w{odd}"][-1, -1] = value
        write_model(root / model, tensors)


def batches_of(plan):
    """All units of a plan in batches, as if no unit were ever claimed alone."""
    waiting = list(reversed(plan.units))
    while (batch := take_batch(waiting, plan.tile_elements)) is not None:
        yield batch
    assert not waiting or len(waiting[-1].unit.passes) > 1


@pytest.mark.parametrize("recipe", [LINEAR, MASKED], ids=["linear", "masked"])
@pytest.mark.parametrize("workers", [1, 3])
def test_batches_give_the_bytes_of_torch_kernels_tensor_by_tensor(tmp_path, workers, recipe):
    write_models(tmp_path, shapes=((7, 5), (7, 5), (3, 11)))
    batched = merge(recipe, tmp_path / "batched", workers=workers).tensors()
    single = merge(recipe, tmp_path / "single", kernels=Kernels.TORCH).tensors()
    assert len(batched) == COUNT
    assert all(same_bytes(batched[name], single[name]) for name in single)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_batch_of_copies_has_the_bytes_of_its_inputs(tmp_path, workers):
    write_models(tmp_path, shapes=((7, 5), (7, 5), (3, 11)))
    copied = merge(COPIES, tmp_path / "out", workers=workers).tensors()
    wanted = read_model(tmp_path / "b")
    assert len(copied) == COUNT
    assert all(same_bytes(copied[name], wanted[name]) for name in wanted)


def test_a_batch_takes_units_in_order_and_stacks_those_of_one_work(tmp_path):
    write_models(tmp_path, shapes=((7, 5), (3, 11)))
    plan = plan_for(compile_mapping(LINEAR, tmp_path / "recipe.yml"))
    made = list(batches_of(plan))
    numels = [[stack.task.stop for stack in batch.stacks] for batch in made]
    assert numels == [[35, 33], [35, 33], [35, 33]]
    counts = [[len(stack.outputs) for stack in batch.stacks] for batch in made]
    assert counts == [[32, 32], [32, 32], [3, 2]]
    names = [
        {output.name for stack in batch.stacks for outputs in stack.outputs for output in outputs}
        for batch in made
    ]
    in_order = [output.name for unit in plan.units for output in unit.unit.outputs]
    assert names == [set(in_order[:64]), set(in_order[64:128]), set(in_order[128:])]


def test_every_tensor_of_a_stack_has_sources_of_its_own(tmp_path):
    write_models(tmp_path)
    plan = plan_for(compile_mapping(LINEAR, tmp_path / "recipe.yml"))
    for batch in batches_of(plan):
        (stack,) = batch.stacks
        wanted = [outputs[0].name for outputs in stack.outputs]
        for model, sources in zip("ab", stack.sources, strict=True):
            assert [source.entry.name for source in sources] == wanted
            assert {source.entry.file.parent.name for source in sources} == {model}


def test_tensors_with_masks_of_their_own_are_in_stacks_of_one(tmp_path):
    write_models(tmp_path)
    plan = plan_for(compile_mapping(MASKED, tmp_path / "recipe.yml"))
    (work,) = plan.order.works
    assert most_at_once(work, plan.tile_elements) == 1
    masks = set()
    made = list(batches_of(plan))
    assert [len(batch.stacks) for batch in made] == [64, 64, 5]
    for stack in (stack for batch in made for stack in batch.stacks):
        ((output,),) = stack.outputs
        nodes = [item.node for item in stack.task.part.program.instructions]
        (mask,) = (node.op.key for node in nodes if isinstance(node.op, RandomDrop))
        assert mask.tensor == output.name
        masks.add(mask)
    assert len(masks) == COUNT


def test_a_batch_is_no_larger_than_a_tile(tmp_path):
    write_models(tmp_path, shapes=((BLOCK_ELEMENTS // 16, 3),))
    compiled = compile_mapping(LINEAR, tmp_path / "recipe.yml")
    plan = plan_for(compiled, tile_elements=BLOCK_ELEMENTS)
    sizes = {len(stack.outputs) for batch in batches_of(plan) for stack in batch.stacks}
    assert sizes == {5, COUNT % 5} - {0}
    assert most_at_once(plan.units[0].unit.work, BLOCK_ELEMENTS) == 5


def test_memory_for_the_tensors_of_a_stack_is_predicted(tmp_path):
    tensors = {f"w{number}": torch.zeros(300, 100) for number in range(3)}
    for model in ("a", "b"):
        write_model(tmp_path / "three" / model, tensors)
        write_model(tmp_path / "one" / model, {"w": torch.zeros(300, 100)})
    of_three, of_one = (
        plan_for(compile_mapping(LINEAR, tmp_path / name / "recipe.yml"), workers=1).memory
        for name in ("three", "one")
    )
    output_bytes = 4 * 300 * 100
    assert of_one.buffer_bytes == 2 * output_bytes
    assert of_three.buffer_bytes == 3 * of_one.buffer_bytes
    assert of_three.workspace_bytes == of_one.workspace_bytes + 2 * output_bytes


def test_units_of_several_passes_or_tiles_are_no_batch(tmp_path):
    write_models(tmp_path)
    plan = plan_for(compile_mapping(SLERP, tmp_path / "slerp.yml"))
    assert list(batches_of(plan)) == []
    (tmp_path / "large").mkdir()
    tensors = {"w": torch.zeros(BLOCK_ELEMENTS + 1)}
    for model in ("a", "b"):
        write_model(tmp_path / "large" / model, tensors)
    compiled = compile_mapping(LINEAR, tmp_path / "large" / "recipe.yml")
    plan = plan_for(compiled, tile_elements=BLOCK_ELEMENTS)
    assert take_batch(list(plan.units), plan.tile_elements) is None


@pytest.mark.parametrize("recipe", [LINEAR, COPIES], ids=["linear", "copies"])
def test_the_tensor_with_nan_is_named_wherever_it_stands_in_its_batch(tmp_path, recipe):
    write_models(tmp_path, odd=70)
    merged = merge(recipe, tmp_path / "out")
    (warning,) = (text for text in merged.report.warnings if "NaN" in text)
    assert warning.startswith("b has NaN or infinity @")
    assert warning.endswith("tensor w70")
    with pytest.raises(CheckpointError, match="tensor w70"):
        merge(recipe, tmp_path / "strict", options=RunOptions(strict=True))


def test_a_run_that_fails_in_a_batch_goes_on_after_the_batches_before(tmp_path, monkeypatch):
    write_models(tmp_path)
    whole = merge(LINEAR, tmp_path / "whole").tensors()
    write, written = os.pwrite, []

    def failing(descriptor, data, position):
        written.append(position)
        if len(written) > 3:  # the lock, the header, and the first batch
            raise OSError(5, "broken")
        return write(descriptor, data, position)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing)
        with pytest.raises(MachineError, match="broken"):
            merge(LINEAR, tmp_path / "out")
    merged = merge(LINEAR, tmp_path / "out")
    assert merged.report.continued_tensors == MOST_TENSORS
    assert all(same_bytes(merged.tensors()[name], whole[name]) for name in whole)
