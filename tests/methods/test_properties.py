"""The algebra of the methods: identity and permutation, bit for bit where that holds."""

import numpy as np
import pytest
import table_basic
import table_masks
import table_whole_model
import torch
from attrs import evolve
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphmerge.build.inputs import promoted
from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.graph import Graph, Output, make_node
from graphmerge.methods.base import MergeInputs, ModelInput
from graphmerge.methods.questions import Tensor
from graphmerge.methods.registry import METHODS
from graphmerge.ops.arithmetic import Cast
from graphmerge.ops.sources import LoadTensor
from graphmerge.recipe.signature import Required
from graphmerge.spec import DType
from graphmerge.testing.evaluation import evaluate
from graphmerge.testing.stored_models import same_bytes, write_model

STORED = {DType.F32: torch.float32, DType.BF16: torch.bfloat16, DType.F16: torch.float16}
SIZE = 40
quick = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def values(dtype=DType.F32):
    """Arrays of numbers that a checkpoint may hold, often repeated; no overflow in sums."""
    numbers = st.floats(-1000, 1000, width=16, allow_subnormal=True) | st.floats(-1, 1, width=32)
    arrays = hnp.arrays(np.float32, SIZE, elements=numbers.map(np.float32))
    return arrays.map(lambda array: torch.from_numpy(array).to(STORED[dtype]) + 0.0)


def merged(folder, method, tensors, per_model, *, base=True, own=None, labels=None, seed=0):
    """One tensor merged by a method, as the recipe language does it; the base first, if any.

    Plain evaluation stands for a run: that a run gives the same bytes is shown elsewhere.
    """
    spec = METHODS[method]
    labels = labels or [f"m{number}" for number in range(len(tensors))]
    write_model(folder, {str(number): tensor for number, tensor in enumerate(tensors)})
    entries = read_checkpoint(folder).tensors
    defaults = {p.name: p.default for p in spec.parameters if not isinstance(p.default, Required)}
    loads = [make_node(LoadTensor("m", entries[str(i)])) for i in range(len(tensors))]
    models = tuple(
        ModelInput(label, label, make_node(Cast(DType.F32), load), (defaults | given).__getitem__)
        for label, load, given in zip(labels, loads, per_model, strict=True)
    )
    parameters = defaults | (own or {})
    inputs = MergeInputs(Tensor("x"), models, models[0] if base else None, parameters, seed)
    if spec.survey:
        inputs = evolve(inputs, survey=spec.survey((inputs,)))
    stored = promoted([load.spec.dtype for load in loads])
    node = make_node(Cast(stored), spec.build(inputs))
    return evaluate(Graph((Output("x", node),)))["x"]


def weighted(*weights, **more):
    return [{"weight": weight, **more} for weight in weights]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "m"


@pytest.mark.parametrize("count", [1, 2, 4])
@quick
@given(x=values())
def test_the_mean_of_1_2_or_4_identical_models_is_the_model(folder, count, x):
    """Bit for bit also in float32: what 3x is rounded by, rounding 4x takes back. Not so for 3."""
    found = merged(folder, "linear", [x] * count, weighted(*[1.0] * count), base=False)
    assert same_bytes(found, x)


@pytest.mark.parametrize("dtype", [DType.BF16, DType.F16])
@quick
@given(data=st.data(), weights=st.lists(st.floats(0.01, 2), min_size=1, max_size=6))
def test_identical_16_bit_models_merge_into_the_model(folder, dtype, data, weights):
    """Bit for bit for linear with any weights, and for slerp: float32 has bits to spare.

    But for slerp of vectors shorter than 1e-8, whose cosine is taken as it is, as mergekit does.
    """
    x = data.draw(values(dtype))
    found = merged(folder, "linear", [x] * len(weights), weighted(*weights), base=False)
    assert same_bytes(found, x)
    t = data.draw(st.floats(0, 1))
    assume(not 0 < x.double().norm() <= 1e-7)
    assert same_bytes(merged(folder, "slerp", [x, x], [{}, {}], own={"t": t}), x)


@quick
@given(x=values(), weights=st.lists(st.floats(0.01, 2), min_size=2, max_size=5))
def test_identical_float32_models_merge_into_the_model_but_for_rounding(folder, x, weights):
    """One rounding per term and one for the quotient (where no term is subnormal)."""
    x = torch.where(x.abs() < 1e-30, 0.0, x)
    found = merged(folder, "linear", [x] * len(weights), weighted(*weights), base=False)
    torch.testing.assert_close(found, x, rtol=(len(weights) + 2) * 2.0**-24, atol=0)


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "dare_linear", "dare_ties"])
@quick
@given(x=values(), weights=st.lists(st.floats(-2, 2), min_size=1, max_size=4), seed=st.integers(0))
def test_fine_tunes_that_are_the_base_change_nothing(folder, method, x, weights, seed):
    """Bit for bit for every method on task vectors, whatever weights, densities and lambda."""
    per_model = [{}, *weighted(*weights, density=0.5)]
    own = {"lambda": 0.7, "normalize": True}
    tensors = [x] * (1 + len(weights))
    assert same_bytes(merged(folder, method, tensors, per_model, own=own, seed=seed), x)


@pytest.mark.parametrize("method", ["task_arithmetic", "ties"])
@quick
@given(base=values(DType.BF16), x=values(DType.BF16))
def test_one_fine_tune_of_weight_one_is_the_fine_tune(folder, method, base, x):
    """B + (T - B) is T to float32 rounding of the larger of both."""
    found = merged(folder, method, [base, x], [{}, {"weight": 1.0, "density": 1.0}])
    allowed = torch.maximum(base.float().abs(), x.float().abs()) * 2.0**-23
    slack = x.float().abs() * 2.0**-8
    assert ((found.float() - x.float()).abs() <= torch.where(allowed < slack, slack, allowed)).all()


IN_ANY_ORDER = {
    row.method for row in (*table_basic.ROWS, *table_masks.ROWS, *table_whole_model.ROWS)
} - {"passthrough", "slerp", "arcee_fusion", "cabs", "lines", "emr_masks", "emr_restore"}


@pytest.mark.parametrize("method", sorted(IN_ANY_ORDER))
@quick
@given(data=st.data(), turn=st.permutations(range(3)))
def test_the_order_of_models_does_not_matter(folder, method, data, turn):
    """Up to rounding of the quotient; masks go with the model. Few bits, so votes are exact."""
    quarters = hnp.arrays(np.int16, SIZE, elements=st.integers(-200, 200))
    base, *tuned = (torch.from_numpy(data.draw(quarters)).float() / 4 for _ in range(4))
    weights = data.draw(st.lists(st.sampled_from((0.5, -0.25, 1.0, 2.0)), min_size=3, max_size=3))
    if method == "linear" and sum(weights) == 0:
        weights[0] += 4
    per_model = weighted(*weights)
    for given_, density in zip(per_model, (0.3, 0.5, 1.0), strict=True):
        given_["density"] = density
    labels = ["a", "b", "c"]

    def run(order):
        first = [] if method == "linear" else [base]
        return merged(
            folder,
            method,
            [*first, *(tuned[i] for i in order)],
            [*([{}] if first else []), *(per_model[i] for i in order)],
            base=bool(first),
            labels=[*(["base"] if first else []), *(labels[i] for i in order)],
            own={"normalize": True, "rescale": False},
        )

    straight, turned = run(range(3)), run(turn)
    largest = max(x.abs().max() for x in (base, *tuned, straight))
    assert ((straight - turned).abs() <= 2e-6 * (largest + 1e-30)).all()


@quick
@given(data=st.data(), factor=st.sampled_from((0.5, 2.0, 8.0)))
def test_scaling_all_models_scales_the_merge(folder, data, factor):
    """Powers of two scale bit for bit: no absolute threshold is hidden anywhere."""
    tensors = [data.draw(values()) for _ in range(3)]
    tensors = [torch.where(x.abs() < 1e-20, 0.0, x) for x in tensors]
    for method, own in (("ties", {}), ("dare_ties", {}), ("task_arithmetic", {})):
        per_model = [{}, *weighted(0.5, 0.75, density=0.5)]
        plain = merged(folder, method, tensors, per_model, own=own)
        scaled = merged(folder, method, [x * factor for x in tensors], per_model, own=own)
        assert torch.equal(scaled, plain * factor)


@quick
@given(first=values(), second=values(), t=st.floats(0, 1))
def test_slerp_back_and_forth_meet(folder, first, second, t):
    """slerp(a, b, t) = slerp(b, a, 1 - t), to rounding"""
    there = merged(folder, "slerp", [first, second], [{}, {}], own={"t": t})
    back = merged(folder, "slerp", [second, first], [{}, {}], own={"t": 1 - t})
    largest = max(x.abs().max() for x in (first, second, there))
    # coefficients are up to 1 / sin(W) = 32, and roundings grow with them
    torch.testing.assert_close(there, back, rtol=0, atol=float(largest) * 32 * 2.0**-22 + 1e-30)


@quick
@given(data=st.data(), t=st.floats(0, 1))
def test_slerp_of_unit_vectors_is_a_unit_vector(folder, data, t):
    ends = [data.draw(values()).double() for _ in range(2)]
    if any(end.norm() < 1e-3 for end in ends):
        return
    ends = [(end / end.norm()).float() for end in ends]
    cosine = float(ends[0].double() @ ends[1].double())
    if abs(cosine) > 0.9995:
        return  # linear there, and shorter
    found = merged(folder, "slerp", ends, [{}, {}], own={"t": t})
    # near the antipode a little error of the angle is a large one of the direction, not of the norm
    assert abs(found.double().norm() - 1) < 1e-4
