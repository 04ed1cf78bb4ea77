import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hub_places import MODELS, ties

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.hub.client import open_repository
from graphmerge.output import read_manifest
from graphmerge.output.journal import unfinished_commits
from graphmerge.pipeline import RunOptions, compile_recipe, run
from graphmerge.testing.merging import Silent, plan_for
from graphmerge.testing.stored_models import weights_digest
from graphmerge.units import KIB

PLAN_JSON = Path(__file__).parents[2] / "docs" / "plan-json.md"
BUDGET = ("--memory-budget", "1GiB")


def test_a_plan_fetches_headers_and_says_what_a_run_downloads(three, models):
    result = three.process("plan", "ties.yml", "--dry-run", *BUDGET)
    assert result.returncode == 0, result.stderr
    shards = [file for name in MODELS for file in read_checkpoint(models / name).files]
    stored = sum(file.stat().st_size for file in shards)
    assert stored > 16_000 * KIB
    sent = three.hub.total_bytes(".safetensors")
    assert 0 < sent <= len(shards) * 64 * KIB
    assert set(three.hub.sent_bytes) - {file.name for file in shards} == {
        "config.json",
        "model.safetensors.index.json",
    }
    for name in MODELS:
        commit = three.commits[name][:12]
        line = rf"  {three.organisation}/{name}@main +{commit} +\d files, 5\.\d+ MiB +0 files"
        assert re.search(line, result.stdout)


def test_the_json_of_a_plan_names_every_file(three, models, invoke):
    content = json.loads(invoke("plan", "ties.yml", "--json", *BUDGET).stdout)
    base, chat, _ = content["downloads"]
    assert base["repository"] == f"{three.organisation}/base"
    assert base["commit"] == three.commits["base"]
    shards = [file.name for file in read_checkpoint(models / "chat").files]
    assert chat["missing_files"] == shards
    side_files = ["generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    assert base["missing_files"] == sorted([*side_files, *shards])
    sizes = sum((models / "base" / name).stat().st_size for name in base["missing_files"])
    assert base["missing_bytes"] == sizes
    assert base["cached_files"] == []
    section = PLAN_JSON.read_text().split("## `downloads[]`", 1)[1].split("\n## ", 1)[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == set(base)


def test_a_run_downloads_and_merges_as_from_folders(three, models, invoke):
    """One file of the base is cut off half-way, and goes on where it was."""
    (three.path / "local").symlink_to(models)
    three.write("local.yml", ties("local"))
    code = three.hub.repositories[f"{three.organisation}/code"]
    code.commits[three.commits["code"]]["README.md"] = b"---\nlicense: mit\n---\n"
    cut = read_checkpoint(models / "base").files[0]
    three.hub.cuts[cut.name] = (1, 500 * KIB)
    result = three.process("run", "ties.yml", "out", *BUDGET)
    assert result.returncode == 0, result.stderr
    assert "downloaded 13 files, 16." in result.stderr
    peaks = re.search(r"predicted (\d+) MiB, measured (\d+) MiB", result.stdout)
    assert int(peaks[2]) <= int(peaks[1]), "downloads are no part of the budget"
    assert invoke("run", "local.yml", "from-folders", *BUDGET).exit_code == 0
    assert weights_digest(three.path / "out") == weights_digest(three.path / "from-folders")

    stored = sum(file.stat().st_size for n in MODELS for file in (models / n).glob("*.safetensors"))
    headers = 9 * 64 * KIB
    assert stored < three.hub.total_bytes(".safetensors") <= stored + headers, "nothing came twice"
    (first, *_) = read_manifest(three.path / "out").inputs
    assert first.reference == f"{three.organisation}/base"
    assert first.revision == three.commits["base"]
    assert first.path == f"hf://{first.reference}@{first.revision}"
    card = (three.path / "out" / "README.md").read_text()
    assert f"- {three.organisation}/base" in card, "base_model"
    assert f"at `{three.commits['base']}`" in card
    assert "mit" in card, "what the card of an input says of its licence"
    assert (three.path / "out" / "tokenizer.json").read_bytes() == (
        models / "base" / "tokenizer.json"
    ).read_bytes()

    asked = len(three.hub.requests)
    again = three.process("run", "ties.yml", "out-again", *BUDGET, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert len(three.hub.requests) == asked
    assert weights_digest(three.path / "out") == weights_digest(three.path / "out-again")


class Interrupting(Silent):
    """Presses Ctrl-C when a few tensors are finished."""

    def progressed(self, counts):
        if counts.written_bytes > 100 * KIB:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_with_its_commits(three, invoke):
    compiled = compile_recipe(three.path / "ties.yml")
    with pytest.raises(KeyboardInterrupt):
        run(compiled, plan_for(compiled), three.path / "out", RunOptions(), Interrupting())
    code = three.hub.repositories[f"{three.organisation}/code"]
    moved = code.commit({**code.commits[three.commits["code"]], "new.txt": b"new"})
    assert unfinished_commits(three.path / "out") == {
        f"{three.organisation}/{name}@main": three.commits[name] for name in MODELS
    }
    open_repository.cache_clear()  # as a new process
    result = invoke("run", "ties.yml", "out", *BUDGET)
    assert result.exit_code == 0, result.output
    used = {one.reference: one.revision for one in read_manifest(three.path / "out").inputs}
    assert used[f"{three.organisation}/code"] == three.commits["code"] != moved


def test_only_files_that_are_read_are_downloaded(three, models, invoke):
    part = {"model": f"{three.organisation}/base", "layer_range": [0, 1]}
    slices = [{"sources": [part]}]
    three.write("first.yml", {"merge_method": "passthrough", "slices": slices})
    result = invoke("run", "first.yml", "out", *BUDGET)
    assert result.exit_code == 0, result.output
    middle = read_checkpoint(models / "base").files[1]
    assert three.hub.sent_bytes[middle.name] <= 64 * KIB
    assert "downloaded 5 files" in result.stderr


def test_the_merging_process_never_imports_the_library(three, models):
    code = (
        "import sys; from pathlib import Path; from graphmerge.pipeline import compile_recipe\n"
        "import graphmerge.cli.plan, graphmerge.cli.run\n"
        "[compile_recipe(Path(recipe)) for recipe in sys.argv[1:]]\n"
        "assert not {'huggingface_hub', 'httpx'} & set(sys.modules)\n"
    )
    (three.path / "local").symlink_to(models)
    three.write("local.yml", ties("local"))
    subprocess.run([sys.executable, "-c", code, "local.yml", "ties.yml"], check=True)
