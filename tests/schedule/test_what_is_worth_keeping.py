"""What is kept between passes: what many units need alike, not what a few larger ones need."""

import pytest

from graphmerge.graph import Graph, Output
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.schedule.choose import schedule
from graphmerge.schedule.plan import Request
from graphmerge.testing.drawn_graphs import slerp, stored
from graphmerge.testing.merging import nothing_reserved

LAYER, GIB = 8 * BLOCK_ELEMENTS, 2**30


def kept_by(lengths, workers=2, **request):
    """Lengths of outputs whose inputs are kept; every output is a slerp of two tensors."""
    outputs = [
        Output(f"out{number}", slerp(*(stored(f"{side}{number}", (length,)) for side in "xy"), 0.5))
        for number, length in enumerate(lengths)
    ]
    plan = schedule(Graph(tuple(outputs)), Request(4 * GIB, workers, **request), nothing_reserved)
    return {unit.unit.root.spec.numel for unit in plan.units if unit.kept}, plan


def test_an_embedding_larger_than_all_layers_is_read_again():
    """32 layers, and two tensors ten times as large as one of a layer"""
    lengths = (10 * LAYER, *[LAYER] * 32, 10 * LAYER)
    kept, plan = kept_by(lengths)
    assert kept == {LAYER}
    assert plan.memory.live_bytes < 3 * 2 * 4 * LAYER
    assert plan.read_bytes == 2 * 4 * sum((*lengths, 10 * LAYER, 10 * LAYER))


def test_large_tensors_are_kept_where_there_are_many():
    kept, _ = kept_by((*[10 * LAYER] * 32, *[LAYER] * 32))
    assert kept == {LAYER, 10 * LAYER}


@pytest.mark.usefixtures("free_memory")
def test_all_is_kept_where_memory_costs_nothing():
    kept, _ = kept_by((10 * LAYER, *[LAYER] * 32, 10 * LAYER))
    assert kept == {LAYER, 10 * LAYER}


def test_what_is_worth_keeping_is_chosen_for_one_worker_too():
    kept, _ = kept_by((10 * LAYER, *[LAYER] * 32, 10 * LAYER), workers=1)
    assert kept == {LAYER}
