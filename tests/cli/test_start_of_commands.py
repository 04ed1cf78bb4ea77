"""Commands start without what they do not need: a small merge takes as long as its imports."""

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

SCRIPT = """
import sys
from graphmerge.cli.app import main
try:
    main()
finally:
    print("loaded:", *sorted(sys.modules))
"""
TIES = ("ties.yml", "--memory-budget", "2GiB")


def loaded(folder, *arguments):
    """Modules that a command has loaded."""
    result = folder.process(*arguments, command=[sys.executable, "-c", SCRIPT])
    assert result.returncode == 0, result.stderr
    return set(result.stdout.rpartition("loaded:")[2].split())


def on_a_terminal(folder, *arguments):
    """What a command prints on stdout, and on stderr where that is a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SCRIPT, *arguments]
    wide = {**os.environ, "COLUMNS": "160"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, text=True, cwd=folder.path, env=wide
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 4096):
                shown += piece
        output = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0, shown
    return output, shown.decode()


def test_a_merge_without_a_terminal_loads_nothing_to_draw_with(folder):
    found = loaded(folder, "run", *TIES, "out")
    assert {"graphmerge", "numpy", "llvmlite"} <= found
    assert not {"rich", "torch", "networkx", "huggingface_hub", "httpx", "jinja2", "cattrs"} & found


def test_a_merge_loads_its_own_method_and_what_that_needs(folder):
    found = loaded(folder, "run", *TIES, "out")
    for part, used, not_used in (
        ("methods", {"ties", "task_vectors"}, {"operations", "slerp", "dare_ties", "tsv_m"}),
        ("ops", {"consensus", "sparsify"}, {"matrix_rules", "competition", "variance"}),
        ("native", {"consensus", "magnitude"}, {"competition", "variance"}),
        ("statistics", {"magnitude", "sums"}, {"competition", "karcher", "whole_model"}),
        ("schedule", {"input_reports"}, {"report", "report_values", "simulate"}),
    ):
        assert {f"graphmerge.{part}.{name}" for name in used} <= found
        assert not {f"graphmerge.{part}.{name}" for name in not_used} & found


def test_a_plan_loads_neither_what_draws_nor_what_computes(folder):
    found = loaded(folder, "plan", *TIES)
    assert not {"rich", "torch", "networkx", "huggingface_hub", "httpx", "llvmlite"} & found


def test_a_terminal_shows_a_bar_within_the_predicted_memory(folder):
    output, shown = on_a_terminal(folder, "run", *TIES, "out")
    assert "rich" in output.split()
    assert "merge" in shown
    assert re.search(r"memory \d+ MiB of 2[.]00 GiB", shown)
    assert int(re.search(r"\((\d+)%\)", output)[1]) <= 100


def test_quiet_shows_a_terminal_no_bar(folder):
    output, shown = on_a_terminal(folder, "run", *TIES, "out", "--quiet")
    assert "rich" not in output.split()
    assert shown == ""
