"""Every row of the table x dtype x number of models, on one checkpoint with every shape."""

import math
import zlib

import numpy as np
import pytest
import reference
import torch
from data_statistics import write_statistics
from table import ONE_EACH, TABLE

from graphmerge.methods.registry import METHODS
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import write_model

SHAPES = ((), (0,), (3, 0), (1,), (7,), (BLOCK_ELEMENTS,), (BLOCK_ELEMENTS + 1,), (300, 700))
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
MODELS = 5
SEED = 11
FLOAT32_TOLERANCE = 2e-6
"""Tolerance relative to the largest magnitude where the arithmetic is float32."""
FRACTION_BITS = {torch.bfloat16: 7, torch.float16: 10}
LEAST_EXPONENT = {torch.bfloat16: -126, torch.float16: -14}


def generator(*key):
    return torch.Generator().manual_seed(zlib.crc32(repr(key).encode()))


def spread(name, shape, model):
    """Normal numbers, and a smaller normal change for every fine-tune."""
    base = 0.5 * torch.randn(shape, generator=generator(name), dtype=torch.float64)
    if model == 0:
        return base
    return base + 0.1 * torch.randn(shape, generator=generator(name, model), dtype=torch.float64)


def few(name, shape, model):
    """Changes of five values only, so that nearly all magnitudes are tied and votes draw."""
    base = torch.randint(-4, 5, shape, generator=generator(name)).double() / 4
    if model == 0:
        return base
    return base + torch.randint(-2, 3, shape, generator=generator(name, model)).double() / 4


def frozen(name, shape, model):
    """The same in every model."""
    return torch.randn(shape, generator=generator(name), dtype=torch.float64)


def model_tensors(model, dtype):
    return {
        f"{kind.__name__}.{'x'.join(map(str, shape)) or 'scalar'}": kind(
            f"{kind.__name__}{shape}", shape, model
        ).to(dtype)
        for kind in (spread, few, frozen)
        for shape in SHAPES
    }


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Folders of five models per dtype, and their tensors."""
    folders = {}
    for dtype in DTYPES:
        root = tmp_path_factory.mktemp(str(dtype).removeprefix("torch."))
        models = [model_tensors(model, dtype) for model in range(MODELS)]
        for model, tensors in enumerate(models):
            write_model(root / f"m{model}", tensors)
            write_statistics(root, f"m{model}", tensors)
        folders[dtype] = root, models
    return folders


def spacing(values, dtype):
    """Distance between neighbours of a 16-bit dtype at these values."""
    with np.errstate(divide="ignore"):
        exponent = np.maximum(np.floor(np.log2(np.abs(values))), LEAST_EXPONENT[dtype])
    return 2.0 ** (exponent - FRACTION_BITS[dtype])


def assert_close(got, want, *, allowed, dtype, excepted, label):
    """Within what is allowed, and 1 ulp of a 16-bit dtype."""
    allowed = np.full(want.shape, allowed)
    if dtype in FRACTION_BITS:
        want = torch.from_numpy(np.asarray(want)).to(dtype).double().numpy()
        allowed = allowed + spacing(want, dtype)
    wrong = (np.abs(got - want) > allowed) & ~excepted
    assert not wrong.any(), (
        f"{label}: {wrong.sum()} of {wrong.size} entries differ, "
        f"the first at {np.argwhere(wrong)[0]}: {got[wrong][0]!r}, wanted {want[wrong][0]!r}"
    )


ANY_NUMBER = [row for row in ONE_EACH if METHODS[row.method].most_models is None]


def test_every_method_is_in_the_table():
    assert {row.method for row in TABLE} == set(METHODS)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("row", "count"),
    [pytest.param(row, count, id=f"{row}-{count}") for row in TABLE for count in row.counts],
)
def test_a_merge_is_what_the_formula_says(row, count, dtype, stored):
    root, models = stored[dtype]
    assert_merged(row, count, dtype, root, models)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of twenty small models, and their tensors."""
    root = tmp_path_factory.mktemp("many")
    generator = torch.Generator().manual_seed(7)
    base = torch.randn(16, 24, generator=generator)
    models = []
    for number in range(20):
        changed = base + 0.1 * torch.randn(16, 24, generator=generator)
        models.append({"layers.0.matrix": changed, "layers.1.vector": changed[0].clone()})
        write_model(root / f"m{number}", models[-1])
        write_statistics(root, f"m{number}", models[-1])
    return root, models


@pytest.mark.parametrize(
    ("row", "count"),
    [
        pytest.param(row, count, id=f"{row}-{count}")
        for row in ANY_NUMBER
        for count in (METHODS[row.method].least_models, 20)
    ],
)
def test_few_models_and_twenty_are_what_the_formula_says(row, count, many):
    """As few as the method takes; and twenty, with the parameters of five in turns."""
    root, models = many
    assert_merged(row, count, torch.float32, root, models)


def assert_merged(row, count, dtype, root, models):
    """Merge the first models in a folder by a row, and compare with its reference."""
    labels = [f"m{model}" for model in range(count)]
    out = root / f"out-{row}-{count}"
    merged = merge(row.recipe(labels), out, workers=2, tile_elements=BLOCK_ELEMENTS, seed=SEED)
    arithmetic = np.float64 if dtype is torch.float64 else np.float32
    found = merged.tensors()
    assert found.keys() == models[0].keys() | row.beside
    memo = {}
    wide = [{name: x.double().numpy() for name, x in model.items()} for model in models[:count]]
    for name in models[0]:
        tensor = found[name]
        assert tensor.dtype is (row.dtype(count) if row.dtype else dtype)
        inputs = [model[name] for model in wide]
        given = row.given(labels, wide, name=name, seed=SEED, arithmetic=arithmetic, memo=memo)
        want = row.reference(given)
        assert tensor.shape == want.shape
        excepted = np.zeros(want.shape, dtype=bool)
        if row.votes:
            excepted = reference.undecided(row.voting(given), given.values("weight", 1.0))
            assert excepted.sum() <= 1e-4 * want.size, "too few votes are clear"
        magnitudes = (np.abs(x).max(initial=0.0) for x in (want, *inputs))
        relative = row.tolerance if dtype is torch.float64 else FLOAT32_TOLERANCE
        allowed = relative * max(magnitudes)
        check = {"allowed": allowed, "dtype": tensor.dtype, "excepted": excepted, "label": name}
        assert_close(tensor.double().numpy(), want, **check)


def test_the_spacing_is_that_of_torch():
    for dtype in FRACTION_BITS:
        for value in (1.0, 1.5, 3e-5, 1e-7, 40000.0):
            x = torch.tensor(value, dtype=dtype)
            up = (x.view(torch.int16) + 1).view(dtype)
            assert math.isclose(float(up) - float(x), spacing(np.array(float(x)), dtype))
