import json
import re

import pytest

from graphmerge.testing.checkpoints import write_header_only
from graphmerge.testing.llama_shapes import LLAMA_70B


def test_a_plan_shows_memory_work_and_every_tensor(folder):
    result = folder.invoke("plan", "ties.yml", "--dry-run", "--memory-budget", "2GiB")
    assert result.exit_code == 0
    for line in (
        r"recipe  ties\.yml: ties, seed 0",
        r"  first +39 +1 +113 KiB  BF16",
        r"output  39 tensors, 113 KiB in 1 shard",
        r"nodes   .*task-vector 78.*",
        r"work    \d+ passes in 39 units, \d workers? on cpu, tiles of [\d,]+ elements",
        r"order   model\.embed_tokens\.weight, .*",
        r"  reserved +[\d.]+ MiB .*",
        r"  live +.*",
        r"  workspace +.*",
        r"  buffer +.*",
        r"  predicted peak +[\d.]+ MiB  \d+% of the budget of 2\.00 GiB",
        r"  over time [▁▂▃▄▅▆▇█]+ .* to .*",
        r"merged  39 tensors",
        r"    model\.layers\.\{0\.\.3\}\.mlp\.up_proj\.weight  \(4\)",
        r"copied  0 tensors",
        r"left out  0 tensors",
    ):
        assert re.search(f"^{line} *$", result.stdout, re.MULTILINE), line


def test_dry_run_and_plain_plan_are_the_same(folder):
    arguments = ("plan", "ties.yml", "--memory-budget", "2GiB", "--json")
    assert folder.invoke(*arguments).stdout == folder.invoke(*arguments, "--dry-run").stdout


def test_verbose_names_every_tensor(folder):
    result = folder.invoke("plan", "ties.yml", "--verbose")
    assert "    model.layers.2.mlp.up_proj.weight" in result.stdout
    assert "{" not in result.stdout


def test_an_uncalibrated_plan_says_so(folder, uncalibrated):
    result = folder.process("plan", "ties.yml", env=uncalibrated)
    assert result.returncode == 0
    assert "assumed" in result.stdout
    assert "`graphmerge calibrate` or the first run measures it" in result.stdout


def test_what_is_copied_and_left_out_has_a_reason(folder):
    slices = [{"sources": [{"model": "first", "layer_range": [1, 3]}]}]
    folder.write("cut.yml", {"merge_method": "passthrough", "slices": slices})
    result = folder.invoke("plan", "cut.yml")
    assert result.exit_code == 0
    assert "  first: its layer is in no slice" in result.stdout
    assert "    model.layers.{0,3}.mlp.up_proj.weight  (2)" in result.stdout


def test_a_plan_that_does_not_fit_is_shown_and_refused(folder):
    result = folder.invoke("plan", "ties.yml", "--memory-budget", "1MiB")
    assert result.exit_code == 3
    assert result.stdout.startswith("DOES NOT FIT: 1.00 MiB given, at least ")
    assert "merged  39 tensors" in result.stdout
    assert re.search(r"give --memory-budget \d+MiB or more", result.stderr)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_the_least_budget_of_the_message_really_works(folder, command):
    def attempt(budget, out):
        arguments = [command, "ties.yml", *([out] if command == "run" else [])]
        return folder.process(*arguments, "--memory-budget", budget, "--workers", 1)

    refused = attempt("1MiB", "out")
    assert refused.returncode == 3
    assert "Traceback" not in refused.stderr
    least = re.search(r"--memory-budget (\d+)MiB", refused.stderr)[1]
    assert attempt(f"{least}MiB", "out").returncode == 0
    assert attempt(f"{int(least) - 1}MiB", "other").returncode == 3


def test_explain_draws_the_nodes_of_one_tensor(folder):
    result = folder.invoke("plan", "ties.yml", "--explain", "model.layers.1.mlp.up_proj.weight")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "model.layers.1.mlp.up_proj.weight"
    assert lines[1].strip() == "└── cast(BF16)  BF16[64, 32]  4.00 KiB  weight  cpu"
    assert "load-tensor(first:model.layers.1.mlp.up_proj.weight)  BF16[64, 32]" in result.stdout
    assert "sparsify(magnitude, density=0.5)" in result.stdout
    assert "(above)" in result.stdout


def test_explain_has_no_json(folder):
    result = folder.invoke("plan", "ties.yml", "--explain", "model.norm.weight", "--json")
    assert result.exit_code == 2
    assert "error: --explain draws, and has no JSON @ --json (leave one of them" in result.stderr
    assert result.stdout == ""


def test_explain_suggests_a_name(folder):
    result = folder.invoke("plan", "ties.yml", "--explain", "model.norm.wieght")
    assert result.exit_code == 2
    assert "did you mean 'model.norm.weight'?" in result.stderr


def test_a_plan_needs_headers_only(folder):
    """The files are holes in the disk; all 723 tensors of Llama-2-70B are planned at once."""
    for name in ("big-base", "big-first"):
        write_header_only(folder.path / name, LLAMA_70B)
    folder.write(
        "big.yml",
        {
            "merge_method": "task_arithmetic",
            "base_model": "big-base",
            "models": [{"model": "big-first", "parameters": {"weight": 1}}],
        },
    )
    result = folder.invoke("plan", "big.yml", "--memory-budget", "2GiB", "--json")
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    assert content["tensors"] == 723
    assert content["read_bytes"] > 250 * 10**9
    assert content["predicted_peak_bytes"] <= 2 * 2**30
