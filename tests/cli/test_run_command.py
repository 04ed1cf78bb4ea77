import filecmp
import os
import pty
import re
import signal
import subprocess
import time

import numpy as np
import pytest

from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.cli.progress import RunDisplay

RESULT = re.compile(
    r"wrote out: 39 tensors, 113 KiB in 1 shard, \d+\.\d s\n"
    r"peak: predicted [\d.]+ [KMG]iB, measured [\d.]+ [KMG]iB \(\d+%\)\n"
)


def test_a_run_writes_a_checkpoint_and_says_how_well_it_was_predicted(folder):
    result = folder.process("run", "ties.yml", "out", "--memory-budget", "2GiB")
    assert result.returncode == 0, result.stderr
    assert RESULT.fullmatch(result.stdout)
    assert result.stderr == ""
    assert set(read_checkpoint(folder.path / "out").tensors) == set(
        read_checkpoint(folder.path / "base").tensors
    )
    assert (folder.path / "out" / "tokenizer.json").exists()


def test_the_peak_of_a_process_is_at_most_the_predicted_one(folder):
    result = folder.process("run", "ties.yml", "out", "--memory-budget", "2GiB", "--workers", "2")
    share = re.search(r"\((\d+)%\)", result.stdout)
    assert int(share[1]) <= 100


def test_out_shard_size_cuts_the_output(folder):
    result = folder.invoke("run", "ties.yml", "out", "--out-shard-size", "50KB")
    assert result.exit_code == 0
    assert "39 tensors, 113 KiB in 3 shards" in result.stdout
    assert len(list((folder.path / "out").glob("model-*.safetensors"))) == 3


def test_an_output_in_use_is_kept_unless_overwrite_is_given(folder):
    assert folder.invoke("run", "ties.yml", "out").exit_code == 0
    refused = folder.invoke("run", "ties.yml", "out")
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert folder.invoke("run", "ties.yml", "out", "--overwrite").exit_code == 0


@pytest.mark.parametrize("out", ["round", "round/out"])
def test_an_output_among_links_in_a_circle_is_one_message(folder, out):
    (folder.path / "round").symlink_to("about")
    (folder.path / "about").symlink_to("round")
    result = folder.invoke("run", "ties.yml", out)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: cannot write @ ")
    assert line.endswith("got Too many levels of symbolic links")


def test_durable_and_quiet_change_nothing_in_the_result(folder):
    folder.invoke("run", "ties.yml", "plain")
    result = folder.invoke("run", "ties.yml", "durable", "--durable", "--quiet")
    assert result.exit_code == 0
    assert filecmp.cmp("plain/model.safetensors", "durable/model.safetensors", shallow=False)


def test_an_interrupted_run_says_how_to_continue_and_then_continues(folder, monkeypatch):
    folder.invoke("run", "ties.yml", "whole")

    def interrupt(_display, counts):
        if counts.finished_tensors == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDisplay, "progressed", interrupt)
        interrupted = folder.invoke("run", "ties.yml", "out", "--workers", "1")
    assert interrupted.exit_code == 130
    assert interrupted.stderr == "interrupted: run the same command again to continue\n"
    assert not (folder.path / "out").exists()

    continued = folder.invoke("run", "ties.yml", "out", "--workers", "1")
    assert continued.exit_code == 0
    assert "continuing an interrupted run: 7 of 39 tensors are finished" in continued.stderr
    assert filecmp.cmp("whole/model.safetensors", "out/model.safetensors", shallow=False)


def test_ctrl_c_ends_the_process_with_one_line(folder):
    process = subprocess.Popen(
        folder.command("run", "ties.yml", "out"),
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder.path,
    )
    while not (folder.path / "out.partial").exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the merge was faster than the signal")
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "interrupted" in errors


def test_nan_is_reported_and_merged_unless_strict(folder):
    entry = read_checkpoint(folder.path / "first").tensors["model.norm.weight"]
    with entry.file.open("r+b") as stream:
        stream.seek(entry.offset)
        stream.write(np.array([0x7FC0], dtype="<u2").tobytes())
    merged = folder.invoke("run", "ties.yml", "out")
    assert merged.exit_code == 0
    assert "warning: first has NaN or infinity @ " in merged.stderr
    assert "model.norm.weight" in merged.stderr
    refused = folder.invoke("run", "ties.yml", "strict", "--strict")
    assert refused.exit_code == 2
    assert "first has NaN or infinity" in refused.stderr
    assert not (folder.path / "strict").exists()


@pytest.mark.parametrize(("extra", "is_drawn"), [((), True), (("--quiet",), False)])
def test_a_terminal_sees_a_bar_with_memory_unless_quiet(folder, extra, is_drawn):
    folder.invoke("calibrate")
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "200", "TERM": "xterm"}
    command = folder.command("run", "ties.yml", "out", "--memory-budget", "2GiB", *extra)
    with subprocess.Popen(command, stderr=theirs, cwd=folder.path, env=environment) as process:
        os.close(theirs)
        drawn = b"".join(_read_all(ours))
    os.close(ours)
    assert process.returncode == 0
    assert (b"of 2.00 GiB" in drawn) is is_drawn
    assert (b"merge" in drawn) is is_drawn


def _read_all(descriptor):
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # how Linux reports the end of a pseudo-terminal
            return
        if not data:
            return
        yield data


def test_a_second_process_finds_the_machine_code_of_the_first(folder, uncalibrated):
    """Whatever hashes are: the text that is compiled does not depend on them."""
    found = []
    for seed in ("1", "2"):
        environment = {**uncalibrated, "PYTHONHASHSEED": seed}
        result = folder.process("run", "ties.yml", f"out{seed}", env=environment)
        assert result.returncode == 0, result.stderr
        native = folder.path / "cache" / "graphmerge" / "native"
        found.append({file.name: file.stat().st_ino for file in native.iterdir()})
    assert found[0]
    assert found[0] == found[1]
    first, second = (folder.path / f"out{seed}" / "model.safetensors" for seed in (1, 2))
    assert first.read_bytes() == second.read_bytes()
