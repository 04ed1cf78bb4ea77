"""What a function allocates is known before it has seen a weight."""

import subprocess
import sys

import pytest
import torch
from plugin_recipes import recipe
from torch.profiler import ProfilerActivity, profile

import graphmerge as gm
from graphmerge.graph import Workspace
from graphmerge.ops.custom import CUSTOM_OPS
from graphmerge.plugins.tracing import allocated, traced_workspace
from graphmerge.schedule.memory import estimate
from graphmerge.schedule.plan import Reserved
from graphmerge.spec import DType, TensorSpec
from graphmerge.testing.merging import compile_mapping, plan_for
from graphmerge.testing.stored_models import write_model

ROWS, COLUMNS = 300, 256
ELEMENTS = ROWS * COLUMNS
SLACK_BYTES = 16_384
"""Scalars, and what torch takes for a line here and there."""
TABLE = torch.linspace(0, 1, 10_000)


def custom(function, access="whole"):
    return CUSTOM_OPS[access]("mine", function, (), traced_workspace)


def predicted(function, *, models=3, access="whole", shape=(ROWS, COLUMNS), dtype=DType.F32):
    return allocated(custom(function, access), (TensorSpec(shape, dtype),) * models)


def reused(tensors):
    total = tensors[0] + 1
    for x in tensors:
        total = total * x
    return total


BYTES_PER_ELEMENT = {
    "nothing": (lambda x: x[0], 0),
    "a view": (lambda x: x[0].reshape(-1).view(x[0].shape), 0),
    "a sum": (lambda x: x[0] + x[1], 4),
    "in place": (lambda x: x[0].clone().add_(1).mul_(x[1]), 4),
    "one of two is let go at each step": (reused, 8),
    "a stack of three": (lambda x: torch.stack(x).mean(dim=0), 12 + 4),
    "a sort with indices": (lambda x: torch.stack(x).sort(dim=0).values[0], 12 + 12 + 24),
    "a mask": (lambda x: torch.where(x[0] > x[1], x[0], x[1]), 1 + 4),
    "a mask as a factor": (lambda x: x[0] * (x[0] > 0), 1 + 4 + 4),
    "double precision": (lambda x: x[0].double().mul(2).float(), 8 + 8),
}


@pytest.mark.parametrize("name", BYTES_PER_ELEMENT)
def test_a_function_of_whole_tensors_takes_what_can_be_counted(name):
    function, per_element = BYTES_PER_ELEMENT[name]
    found = predicted(function)
    assert found.per_element_bytes == 0
    assert 0 <= found.fixed_bytes - per_element * ELEMENTS <= 64


@pytest.mark.parametrize("name", BYTES_PER_ELEMENT)
def test_a_function_of_tiles_takes_as_much_for_each_element(name):
    function, per_element = BYTES_PER_ELEMENT[name]
    found = predicted(function, access="elementwise")
    assert found.per_element_bytes == per_element
    assert 0 <= found.fixed_bytes <= 64


FIRST_CALL = """
import gc
import torch
from graphmerge.ops.custom import CUSTOM_OPS
from graphmerge.plugins.tracing import allocated, traced_workspace
from graphmerge.spec import DType, TensorSpec

gc.disable()  # as while a plan is made
op = CUSTOM_OPS["whole"]("mine", lambda x: torch.stack(x).mean(dim=0) * 2, (), traced_workspace)
print(allocated(op, (TensorSpec((1000, 100), DType.F32),) * 3).fixed_bytes)
"""


@pytest.mark.slow  # a process that loads torch's compiler
def test_the_first_call_in_a_process_counts_no_more_than_the_next():
    """It loads torch's compiler, which leaves cycles that hold tensors."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALL], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == (12 + 4) * 100_000


def test_in_float64_it_takes_twice_that():
    assert predicted(lambda x: x[0] + x[1], dtype=DType.F64).fixed_bytes == 8 * ELEMENTS


def test_what_does_not_depend_on_the_tile_is_counted_once():
    def with_table(tensors):
        table = torch.linspace(0, 1, 100_000).square()
        return tensors[0] + table.sum()

    found = predicted(with_table, access="elementwise")
    assert found.per_element_bytes == 4
    assert 800_000 - 64 * 4 <= found.fixed_bytes <= 800_064


def test_rows_are_tried_at_their_true_length():
    """A value for each row weighs more where rows are short."""

    def by_row(tensors):
        return tensors[0] * tensors[0].norm(dim=-1, keepdim=True)

    long, short = (predicted(by_row, access="rows", shape=(64, n)) for n in (4096, 4))
    assert (long.per_element_bytes, short.per_element_bytes) == (5, 5)
    assert predicted(by_row, access="rows", shape=(64, 1)).per_element_bytes == 8
    assert predicted(by_row, access="rows", shape=()).per_element_bytes == 8


def test_a_tensor_of_the_module_counts_with_what_is_allocated():
    found = predicted(lambda x: x[0] + TABLE[:COLUMNS])
    assert found.fixed_bytes == 4 * ELEMENTS + TABLE.nbytes


def test_a_tile_of_any_size_that_plans_have_takes_no_more_than_the_line():
    def early_or_late(tensors):
        torch.zeros(1_000_000)
        return torch.stack(tensors).mean(dim=0)

    line = predicted(early_or_late, access="elementwise")
    for count in (64, 1000, 65536, 100_000, 262_144):
        exact = predicted(early_or_late, shape=(count,)).fixed_bytes
        assert exact <= line.at(count) <= exact + 4_000_000


def peak_of_the_allocator(function, tensors):
    """The most that torch's allocator handed out at one time during a real call."""
    seen = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with seen, torch.inference_mode():
        function(tensors)
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def signs(tensors):
    stacked = torch.stack(tensors)
    elected = stacked.sign().sum(dim=0).sign()
    return (stacked * (stacked.sign() == elected)).sum(dim=0)


def trimmed(tensors):
    size = tensors[0].abs().flatten()
    return tensors[0] * (tensors[0].abs() >= size.kthvalue(len(size) // 2).values)


REAL = {
    "median": lambda x: torch.stack(x).median(dim=0).values,
    "quantile": lambda x: torch.stack(x).quantile(0.3, dim=0),
    "sort of all": lambda x: x[0].flatten().sort().values.reshape(x[0].shape),
    "argsort": lambda x: x[0].gather(-1, x[0].argsort(-1)),
    "top": lambda x: x[0] * (x[0].abs() >= x[0].abs().flatten().topk(9).values.min()),
    "kth value": trimmed,
    "signs": signs,
    "count": lambda x: x[0] / (x[0] > 0).sum(),
    "variance": lambda x: torch.stack(x).var(dim=0),
    "log-sum-exp": lambda x: torch.stack(x).logsumexp(dim=0),
    "softmax": lambda x: x[0].softmax(-1),
    "precise sum": lambda x: x[0] * x[0].sum(dtype=torch.float64).float(),
    "product": lambda x: x[0] @ x[1].T @ x[2],
    "cosine": lambda x: x[0] * torch.nn.functional.cosine_similarity(*x[:2], dim=-1)[:, None],
    "singular vectors": lambda x: torch.linalg.svd(x[0] @ x[1].T)[0] @ x[0],
    "eigenvectors": lambda x: torch.linalg.eigh(x[0] @ x[0].T)[1] @ x[1],
    "fourier": lambda x: torch.fft.irfft(torch.fft.rfft(x[0]), n=x[0].shape[-1]),
}


@pytest.mark.parametrize("name", REAL)
def test_the_prediction_is_what_the_allocator_really_hands_out(name):
    """Scratch that ops take inside included: the allocator of torch is asked, not our count."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(ROWS, COLUMNS, generator=generator) for _ in range(3)]
    real = peak_of_the_allocator(REAL[name], tensors)
    found = predicted(REAL[name]).fixed_bytes
    assert real - SLACK_BYTES <= found <= 1.15 * real + SLACK_BYTES


def mean(tensors):
    return torch.stack(tensors).mean(dim=0)


RESERVED = Reserved(0, 0, calibrated=True)


def plan_of(root, shapes, **options):
    for number, name in enumerate(("one", "two")):
        generator = torch.Generator().manual_seed(number)
        tensors = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
        write_model(root / name, tensors)
    gm.merge_method("mine", **options)(mean)
    return plan_for(compile_mapping(recipe("mine", "one", "two"), root / "recipe.yml"))


def test_long_rows_are_tried_without_data():
    found = predicted(lambda x: x[0] + x[1], access="rows", shape=(3, 10**9))
    assert found == Workspace(4)


def planned(root, **options):
    """What a plan has for the method's kernel."""
    plan = plan_of(root, {"w": (30, 20)}, **options)
    (unit,) = plan.units
    return max(unit.unit.passes[-1].program.workspaces, key=lambda need: need.at(600))


def test_what_the_author_says_is_taken_instead_of_what_is_found(tmp_path):
    whole = planned(tmp_path / "whole", workspace_bytes_per_element=77)
    assert whole.per_element_bytes == 77
    tiles = [
        planned(tmp_path / f"{count}", access="elementwise", workspace_bytes_per_element=count)
        for count in (12, 77)
    ]
    traced = planned(tmp_path / "traced", access="elementwise")
    assert tiles[0] == traced, "a stack of two and their mean: 12 bytes"
    assert tiles[1].at(1000) - tiles[0].at(1000) >= 65 * 1000


def test_tiles_have_room_for_what_the_c_library_wastes(tmp_path):
    need = planned(tmp_path, access="elementwise")
    assert need.per_element_bytes == 2 * 12
    assert 2**20 < need.shared_bytes < 2**25


def test_every_shape_is_planned_by_itself(tmp_path):
    """The largest counts; a second tensor does not change what the first one needs."""
    small, large = (400, 100), (300, 1000)
    plans = [
        plan_of(tmp_path / str(number), shapes)
        for number, shapes in enumerate(({"a": small}, {"b": large}, {"a": small, "b": large}))
    ]
    only_small, only_large, both = (plan.memory.workspace_bytes for plan in plans)
    assert only_small < only_large == both
    stack_and_mean = (2 + 1) * 4
    first, second = sorted(
        need.at(0) for unit in plans[2].units for need in unit.unit.passes[-1].program.workspaces
    )
    assert second - first == stack_and_mean * (300_000 - 40_000)


def test_workers_that_have_no_whole_tensor_take_nothing_for_one(tmp_path):
    """What torch loads is counted once, what the function allocates for each tensor at hand."""

    def taken(shapes, workers):
        plan = plan_of(tmp_path / f"{len(shapes)}-{workers}", shapes)
        memory, _ = estimate(plan.graph, plan.order, RESERVED, workers=workers, tile_elements=65536)
        return memory.workspace_bytes + memory.buffer_bytes

    one, two = {"a": (400, 100)}, {"a": (400, 100), "b": (100, 400)}
    assert taken(one, 1) == taken(one, 3)
    stack_and_mean, inputs = (2 + 1) * 4 * 40_000, 2 * 4 * 40_000
    more = taken(two, 3) - taken(two, 1)
    assert stack_and_mean + inputs <= more < 2 * (stack_and_mean + inputs)
