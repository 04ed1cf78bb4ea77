"""A run that is killed leaves no output, and continues to the same bytes."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from graphmerge.errors import OutputError
from graphmerge.output.journal import JOURNAL_NAME
from graphmerge.testing.byte_tokenizer import write_tokenizer
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import LlamaShape
from graphmerge.testing.merging import merge
from graphmerge.testing.scaled_checkpoints import write_block_scaled
from graphmerge.testing.stored_models import weights_digest, write_torch_copy

SHAPE = LlamaShape(6, 128, 384, vocabulary=1024, heads=4, kv_heads=2)
SCRIPT = Path(__file__).with_name("killed_merge.py")
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    write_base(root / "base", SHAPE, seed=0)
    for number in (1, 2):
        write_fine_tune(root / f"tuned{number}", root / "base", seed=number, scale=0.01)
    return root


def recipe(method="dare_ties"):
    models = [
        {"model": f"tuned{number}", "parameters": {"weight": 0.5, "density": 0.5}}
        for number in (1, 2)
    ]
    return {"merge_method": method, "base_model": "base", "models": models}


def finished(partial):
    """Lines of the journal beside the first."""
    journal = partial / JOURNAL_NAME
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0


def killed_after(tensors, path, out):
    """Begin a merge and kill it by SIGKILL when this many tensors are finished."""
    partial = out.with_name(f"{out.name}.partial")
    command = [sys.executable, str(SCRIPT), str(path), str(out), "0.01"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while finished(partial) < tensors:
        assert process.poll() is None, "the merge ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return partial


def test_a_killed_merge_leaves_no_output_and_continues_to_the_same_bytes(models):
    whole = merge(recipe(), models / "whole")
    path = models / "killed.yml"
    path.write_text(yaml.safe_dump(recipe(), sort_keys=False))
    out = models / "killed"
    total = len(whole.tensors())
    partial = killed_after(total // 4, path, out)
    assert not out.exists()
    assert partial.exists()
    killed_after(total // 2, path, out)  # a continued run may be killed as well
    done = finished(partial)
    assert total // 2 <= done < total

    continued = merge(recipe(), out)
    assert continued.report.continued_tensors == done
    assert weights_digest(out) == weights_digest(whole.out)
    assert not partial.exists()
    assert not (out / JOURNAL_NAME).exists()


def test_torch_files_and_codes_with_scales_are_merged_on_where_a_run_was_killed(models):
    write_torch_copy(models / "torch-base", models / "base")
    write_torch_copy(models / "torch-tuned", models / "tuned1")
    write_block_scaled(models / "scaled", models / "tuned2")
    content = recipe("ties") | {"base_model": "torch-base"}
    for model, name in zip(content["models"], ("torch-tuned", "scaled"), strict=True):
        model["model"] = name
    whole = merge(content, models / "other-formats-whole")
    path, out = models / "other-formats.yml", models / "other-formats"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    killed_after(len(whole.tensors()) // 2, path, out)
    assert not out.exists()
    continued = merge(content, out)
    assert continued.report.continued_tensors >= len(whole.tensors()) // 2
    assert weights_digest(out) == weights_digest(whole.out)


def test_statistics_of_the_whole_model_are_the_same_when_a_run_is_continued(models):
    """They are taken over all tensors again, the finished ones too."""
    content = recipe("ties") | {"parameters": {"scope": "model"}}
    whole = merge(content, models / "statistics-whole")
    path = models / "statistics.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    out, total = models / "statistics", len(whole.tensors())
    killed_after(total // 2, path, out)
    done = finished(out.with_name("statistics.partial"))
    assert total // 2 <= done < total
    continued = merge(content, out)
    assert continued.report.continued_tensors == done
    assert weights_digest(out) == weights_digest(whole.out)


def test_a_union_of_vocabularies_is_continued_to_the_same_bytes(models):
    listed = []
    for number in (1, 2):
        folder = shutil.copytree(models / f"tuned{number}", models / f"speaks{number}")
        write_tokenizer(folder, extra_tokens=[f"<{number}>", "<both>"])
        listed.append({"model": folder.name, "parameters": {"weight": 0.5}})
    content = {"merge_method": "linear", "base_model": "base", "models": listed}
    content |= {"tokenizer": {"source": "union"}, "parameters": {"weight": 0.3}}
    whole = merge(content, models / "spoken-whole")
    path, out = models / "spoken.yml", models / "spoken"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    killed_after(len(whole.tensors()) // 2, path, out)
    continued = merge(content, out)
    assert continued.report.continued_tensors > 0
    assert weights_digest(out) == weights_digest(whole.out)
    for name in ("tokenizer.json", "config.json"):
        assert (out / name).read_bytes() == (whole.out / name).read_bytes()


def test_a_finished_part_is_not_computed_again(models):
    path = models / "saving.yml"
    path.write_text(yaml.safe_dump(recipe(), sort_keys=False))
    whole = merge(recipe(), models / "saving-whole")
    killed_after(10, path, models / "saving")
    continued = merge(recipe(), models / "saving")
    assert continued.report.written_bytes < whole.report.written_bytes
    assert continued.report.read_bytes < whole.report.read_bytes


def test_an_unfinished_output_of_another_recipe_is_refused(models):
    path = models / "foreign.yml"
    path.write_text(yaml.safe_dump(recipe(), sort_keys=False))
    partial = killed_after(3, path, models / "foreign")
    with pytest.raises(OutputError, match=r"is of another merge.*got another recipe"):
        merge(recipe("dare_linear"), models / "foreign")
    assert finished(partial) >= 3


def test_an_unfinished_output_of_another_seed_is_refused_as_that(models):
    path = models / "seeded.yml"
    path.write_text(yaml.safe_dump(recipe(), sort_keys=False))
    killed_after(3, path, models / "seeded")
    with pytest.raises(OutputError, match=r"is of another merge.*got another seed \(0\) \("):
        merge(recipe(), models / "seeded", seed=7)


def test_the_recipe_may_be_named_by_another_path_when_a_run_is_continued(models, monkeypatch):
    path = models / "moved.yml"
    path.write_text(yaml.safe_dump(recipe(), sort_keys=False))
    killed_after(3, path, models / "moved")
    monkeypatch.chdir(models)
    assert merge(recipe(), Path("moved")).report.continued_tensors >= 3
