"""Predicted and measured peaks in a process that holds, and has held, other things."""

import json
import subprocess
import sys

import pytest
from expression_models import write_models

import graphmerge as gm
from graphmerge.execution import peak
from graphmerge.expressions import plans
from graphmerge.units import MIB

HELD = 300 * MIB
SCRIPT = """
import json, sys
import graphmerge as gm
{before}
base, math, code = (gm.load(name) for name in ("base", "math", "code"))
merged = {merge}
plan = merged.plan(memory_budget="4GiB", workers=1)
report = merged.save("out", plan=plan, overwrite=True)
print(json.dumps([plan.predicted_peak_bytes, report.measured_peak_bytes]))
"""
TIES = "base + gm.sign_consensus([gm.sparsify(x - base, density=0.5) for x in (math, code)])"
BY_TORCH = 'gm.merge("tsv_m", [math, code], base=base)'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_models(tmp_path, ["base", "math", "code"])
    return tmp_path


def peaks(before, merge=TIES):
    script = SCRIPT.format(before=before, merge=merge)
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("merge", [TIES, BY_TORCH], ids=["native", "torch"])
def test_what_the_process_holds_is_part_of_the_prediction(folder, merge):
    alone, _ = peaks("", merge)
    predicted, measured = peaks(f"held = bytearray({HELD})", merge)
    assert 0.95 * HELD < predicted - alone < 1.05 * HELD
    assert measured <= predicted


def test_libraries_that_are_loaded_already_are_not_counted_twice(folder):
    predicted, measured = peaks("import torch", BY_TORCH)
    alone, _ = peaks("", BY_TORCH)
    assert measured <= predicted < alone + 40 * MIB


def test_what_was_held_before_is_no_part_of_the_measured_peak(folder):
    alone, _ = peaks("")
    predicted, measured = peaks(f"held = bytearray({2 * HELD}); del held")
    assert measured <= predicted < alone + 40 * MIB


def test_where_the_mark_cannot_be_reset_the_user_is_told(folder, monkeypatch):
    base = gm.load("base")
    plan = (base / 2).plan()
    monkeypatch.setattr(peak, "_CLEAR_REFS", folder / "nowhere" / "clear_refs")
    held = bytearray(plan.predicted_peak_bytes)
    held[::4096] = b"x" * len(held[::4096])
    del held
    with pytest.warns(UserWarning, match="measured peak will be that of the process before"):
        (base / 2).save("out", plan=plan)


def test_auto_allows_what_the_process_holds_beside_what_is_free(folder, monkeypatch):
    monkeypatch.setattr(plans, "auto_budget_bytes", lambda: 100 * MIB)
    monkeypatch.setattr(plans, "held_bytes", lambda: HELD)
    plan = (gm.load("base") / 2).plan(memory_budget="auto")
    assert plan.budget_bytes == HELD + 100 * MIB


def test_a_plan_says_what_is_held_where_that_is_much(folder, monkeypatch):
    halved = gm.load("base") / 2
    for held, is_told in ((40 * MIB, False), (2 * HELD, True)):
        monkeypatch.setattr(plans, "held_bytes", lambda held=held: held)
        plan = halved.plan(memory_budget="4GiB")
        assert ("are held by this process already" in str(plan)) is is_told


def test_the_least_budget_of_one_plan_is_enough_for_the_next(folder):
    merged = gm.load("base") / 2
    merged.plan(memory_budget="4GiB")  # loads what plans need
    least = merged.plan(memory_budget="4GiB", workers=1).least_budget_bytes
    assert all(merged.plan(memory_budget=least, workers=1).fits for _ in range(5))
