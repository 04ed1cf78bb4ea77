import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from graphmerge import hub as graphmerge_hub
from graphmerge.errors import InputError, MachineError
from graphmerge.hub.messages import Open
from graphmerge.hub.problems import failure
from graphmerge.places import HubUse, find_place, read_named
from graphmerge.recipe import parse_reference

OPEN = Open("org/model", None, None, "views", fetches_weights=False)


def test_a_gated_model_says_what_to_accept(place, models):
    place.add("gated", models / "base", is_gated=True)
    name = f"{place.organisation}/gated"
    message = (
        rf"the model is gated @ {name} \(accept its conditions at {place.hub.url}/{name}, "
        r"then set HF_TOKEN"
    )
    with pytest.raises(InputError, match=message):
        read_named(name)


@pytest.mark.usefixtures("with_token")
def test_a_private_model_needs_a_token(place, models, invoke):
    place.add("private", models / "base", is_private=True)
    name = f"{place.organisation}/private"
    refused = place.process("inspect", name, HF_TOKEN=None)
    assert refused.returncode == 2
    assert f"no such model on the Hub @ {name} (if it is private: set HF_TOKEN" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert invoke("inspect", name).exit_code == 0


def test_a_mistyped_name_gets_a_suggestion(three):
    wanted = f"{three.organisation}/base"
    with pytest.raises(InputError, match=rf"no such model on the Hub @ .*did you mean {wanted}\?"):
        read_named(f"{three.organisation}/bsae")


def test_a_mistyped_revision_gets_the_branches(three):
    message = rf"no such revision @ {three.organisation}/base@mian; wanted one of main"
    with pytest.raises(InputError, match=message):
        read_named(f"{three.organisation}/base@mian")


def test_a_branch_and_a_commit_can_be_named(three):
    repository = three.hub.repositories[f"{three.organisation}/base"]
    first = three.commits["base"]
    second = repository.commit({**repository.commits[first], "new.txt": b""}, branch="next/big")
    name = f"{three.organisation}/base"
    found = {ref: read_named(f"{name}@{ref}").origin for ref in ("main", "next/big", first)}
    assert {ref: one.commit for ref, one in found.items()} == {
        "main": first,
        "next/big": second,
        first: first,
    }


def test_too_many_requests_are_waited_out(three, caplog):
    three.hub.limited = 1
    assert read_named(f"{three.organisation}/base").tensors
    assert "note: asking the Hub again in 1 s (too many requests)" in caplog.messages


def test_a_server_that_is_out_for_a_moment_is_asked_again(three, caplog):
    three.hub.unavailable = 1
    assert read_named(f"{three.organisation}/base").tensors
    assert "note: asking the Hub again in 1 s (HTTP 503)" in caplog.messages


def test_nobody_waits_for_a_day(three):
    three.hub.limited, three.hub.retry_after = 1, 86400
    with pytest.raises(MachineError, match=r"too many requests @ .*got a wait of 86400 s"):
        read_named(f"{three.organisation}/base")


def test_a_header_that_is_cut_off_is_fetched_again(three):
    for number in (1, 2, 3):
        three.hub.cuts[f"model-0000{number}-of-00003.safetensors"] = (2, 1000)
    assert len(read_named(f"{three.organisation}/base").tensors) == 39


def test_a_server_without_ranges_is_not_read_to_the_end(three, models):
    three.hub.ignores_ranges = True
    found = read_named(f"{three.organisation}/base")
    stored = read_named(str(models / "base"))
    assert {n: e.spec for n, e in found.tensors.items()} == {
        n: e.spec for n, e in stored.tensors.items()
    }


def test_a_connection_that_breaks_for_good_is_one_error(three):
    """The files that were whole stay in the cache, and nothing half-loaded does."""
    name = f"{three.organisation}/base"
    origin = find_place(parse_reference(name, recipe_folder=None), three.path).origin
    files = sorted(origin.folder.glob("*.safetensors"))
    three.hub.cuts[files[1].name] = (100, 0)
    with pytest.raises(MachineError, match=rf"the connection to {three.hub.url} failed @ {name}"):
        graphmerge_hub.download((origin, file) for file in files)
    assert not origin.is_missing(files[0])
    assert origin.is_missing(files[1])
    cache = files[0].resolve().parent
    assert [path.name for path in cache.iterdir() if "incomplete" in path.name] == []


def test_ctrl_c_in_a_download_ends_at_once_and_leaves_nothing_half_loaded(three):
    """The server holds one file back; huggingface_hub alone would wait for it."""
    three.hub.stalled_file = "model-00002-of-00003.safetensors"
    command = [sys.executable, "-m", "graphmerge.cli", "run", "ties.yml", "out"]
    running = subprocess.Popen(command, cwd=three.path, stderr=subprocess.PIPE, text=True)
    try:
        assert three.hub.is_stalled.wait(60)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=25)
    finally:
        running.kill()
        three.hub.may_go_on.set()
    assert running.returncode == 130
    assert errors == "interrupted: run the same command again to continue\n"
    cache = Path(os.environ["HF_HOME"]) / "hub" / f"models--{three.organisation}--base"
    assert cache.exists()
    assert list(cache.rglob("*.incomplete")) == []
    assert not (three.path / "out.partial").exists()


def test_an_unreachable_hub_is_one_error(three):
    result = three.process("plan", "ties.yml", HF_ENDPOINT="http://127.0.0.1:9", HF_HOME="empty")
    assert result.returncode == 1
    assert re.fullmatch(
        r"error: the connection to http://127.0.0.1:9 failed @ \S+: got ConnectError: "
        r".*; there is no local folder \S+/base either\)\n",
        result.stderr,
    )


def test_offline_without_cache_says_so(three):
    result = three.process("plan", "ties.yml", HF_HUB_OFFLINE="1", HF_HOME="empty")
    assert result.returncode == 2
    assert "the cache of the Hub has no such model @ " in result.stderr
    assert "(HF_HUB_OFFLINE is set: unset it to download)" in result.stderr
    assert three.hub.requests == []


def test_offline_with_a_part_of_the_model_says_so(three):
    """After a plan the cache has the small files."""
    read_named(f"{three.organisation}/base")
    result = three.process("inspect", f"{three.organisation}/base", HF_HUB_OFFLINE="1")
    assert result.returncode == 2
    assert "the cache has only a part of the model @ " in result.stderr


def test_a_disk_that_is_too_small_is_told_before_the_download(three, small_disk):
    result = three.process("run", "ties.yml", "out", HF_HOME=str(small_disk))
    assert result.returncode == 1
    assert "the disk is too small for the downloads @ " in result.stderr
    assert "wanted 16." in result.stderr
    assert "set HF_HOME to a folder on another disk" in result.stderr


def test_a_disk_that_fills_up_is_told():
    found = failure(OSError(errno.ENOSPC, "No space left on device"), OPEN)
    assert found.exit_code == 1
    assert "the disk is full" in str(found.problems[0])


def test_whatever_a_library_raises_is_a_message():
    found = failure(KeyError("url"), OPEN)
    assert found.exit_code == 1
    assert str(found.problems[0]).startswith("the Hub failed @ org/model: got KeyError: 'url'")


@pytest.fixture
def torch_model(place):
    """A repository that has a torch file only."""
    folder = place.path / "torch-model"
    folder.mkdir()
    torch.save({"a.weight": torch.ones(4, 4)}, folder / "pytorch_model.bin")
    place.add("torch-model", folder)
    return f"{place.organisation}/torch-model"


def test_torch_files_are_not_downloaded_for_a_plan(place, torch_model):
    message = r"the model has torch files only, .*got 1 files, .*`graphmerge run` downloads them"
    with pytest.raises(InputError, match=message):
        read_named(torch_model)
    assert place.hub.total_bytes(".bin") == 0


def test_torch_files_are_downloaded_for_a_run(place, torch_model):
    reference = parse_reference(torch_model, recipe_folder=None)
    found = find_place(reference, place.path, HubUse(fetches_weights=True)).checkpoint()
    assert list(found.tensors) == ["a.weight"]
    assert read_named(torch_model).tensors, "now they are in the cache"


def test_a_repository_without_weights_is_named(place):
    (place.path / "empty").mkdir()
    (place.path / "empty" / "notes.txt").write_text("nothing here")
    commit = place.add("empty", place.path / "empty")
    message = (
        rf"no safetensors or torch files @ {place.organisation}/empty@{commit}: got notes\.txt"
    )
    with pytest.raises(InputError, match=message):
        read_named(f"{place.organisation}/empty")


def test_a_corrupt_header_is_told_with_the_repository(place, models):
    folder = place.path / "corrupt"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"\x08" + bytes(7) + b"not JSON" + bytes(100))
    commit = place.add("corrupt", folder)
    name = f"{place.organisation}/corrupt"
    with pytest.raises(InputError, match=rf"invalid header @ {name}@{commit}/model.safetensors"):
        read_named(name)


def test_a_file_outside_its_repository_is_not_made(three):
    name = f"{three.organisation}/base"
    three.hub.repositories[name].commits[three.commits["base"]]["../outside.txt"] = b"outside"
    folder = read_named(name).origin.folder
    assert not (folder.parent / "outside.txt").exists()
    assert not list(folder.rglob("outside.txt"))


def test_what_can_be_no_repository_is_not_asked_for(place):
    for name in ("nowhere", "./org/name", "/org/name", "a/b/c"):
        with pytest.raises(InputError, match="no such"):
            find_place(parse_reference(name, recipe_folder=None), place.path)
    assert place.hub.requests == []
