"""Torch files are read lazily, give the bytes of safetensors files, and never run code."""

import argparse
import builtins
import collections
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from graphmerge.checkpoint.fingerprint import fingerprint
from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.checkpoint.weight_file import read_weight_file
from graphmerge.errors import CheckpointError
from graphmerge.execution.reading import FileReader
from graphmerge.testing.merging import merge
from graphmerge.testing.stored_models import weights_digest, write_model

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3",
}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def read_back(entry):
    """The bytes of an entry, as an executor reads them."""
    data = np.empty(entry.spec.nbytes, np.uint8)
    with FileReader() as reader:
        reader.read(entry, 0, data)
    return data.tobytes()


def bytes_of(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


BASE = drawn(6, 10)
TENSORS = {
    "float": BASE,
    "shared": BASE,
    "rows of it": BASE[2:5],
    "row": BASE[3],
    "scalar": torch.tensor(2.5),
    "empty": torch.empty(0, 4),
    "bf16": drawn(5).bfloat16(),
    "half": drawn(3, 1, 2).half(),
    "double": drawn(2, 2).double(),
    "integers": torch.arange(7),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "flags": torch.tensor([True, False]),
    "fp8": drawn(4).to(torch.float8_e4m3fn),
    "u16": torch.arange(3).to(torch.uint16),
    "parameter": torch.nn.Parameter(drawn(3, 3)),
}


@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
@pytest.mark.parametrize("protocol", [2, 4])
def test_every_tensor_has_the_bytes_that_torch_reads(tmp_path, kind, protocol):
    torch.save(kind(TENSORS), tmp_path / "a.pt", pickle_protocol=protocol)
    found = read_weight_file(tmp_path / "a.pt").tensors
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].spec.shape == tuple(tensor.shape), name
        assert found[name].spec.dtype.value == DTYPES[tensor.dtype], name
        assert read_back(found[name]) == bytes_of(tensor), name


def test_state_dict_of_a_module_and_what_is_beside_it(tmp_path):
    module = torch.nn.Linear(3, 2)
    torch.save({"epoch": 3, "state_dict": module.state_dict() | {"step": 4}}, tmp_path / "a.pt")
    found = read_weight_file(tmp_path / "a.pt")
    assert read_back(found.tensors["weight"]) == bytes_of(module.weight)
    assert found.left_out == ("a.pt: step (int)",)
    assert found.notes == ("a.pt: the tensors are those under 'state_dict'; left out: epoch",)


def test_transposed_tensors_are_refused_by_name(tmp_path):
    torch.save({"good": BASE, "bad": BASE.T, "wide": BASE[:, :3]}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="not stored row by row") as caught:
        read_weight_file(tmp_path / "a.pt")
    assert [problem.where.split(": ")[-1] for problem in caught.value.problems] == [
        "'bad'",
        "'wide'",
    ]
    assert "torch.load" in str(caught.value)


class Runs:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def _attacks(target):
    touch = f"open({str(target)!r}, 'w').close()"
    return {
        "system": Runs(os.system, f"touch {target}"),
        "eval": Runs(eval, touch),
        "exec": Runs(exec, touch),
        "import": Runs(builtins.__import__, "antigravity"),
        "attribute": Runs(getattr, "", "format"),
        "nested": {"a": [Runs(Runs, eval, touch)]},
        "load": Runs(torch.load, str(target)),
        "popen": Runs(subprocess.check_output, ["touch", str(target)]),
    }


@pytest.mark.parametrize("name", sorted(_attacks("x")))
def test_a_pickle_never_runs_code(tmp_path, name):
    target = tmp_path / "created"
    attack = _attacks(target)[name]
    torch.save({"weight": BASE, "attack": attack}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"asks for \S+, which graphmerge does not run"):
        read_checkpoint(tmp_path)
    assert not target.exists()


def _replace_pickle(path, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02cos\nsystem\nq\x01h\x01X\x01\x00\x00\x00aq\x02\x85R.", "asks for os.system"),
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94.", "asks for os.system"),
        (b"(S'true'\nios\nsystem\n.", "asks for os.system"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x05\x00\x00\x00_makeK\x01sb.", "invalid"),
        (b"\x80\x02N\x85Q.", "invalid pickle"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "no state dict"),  # a memo index of two thousand millions
        (b"", "invalid pickle"),
        (pickle.dumps([1, 2]), "no state dict"),
        (pickle.dumps({"a": 1}), "no state dict"),
    ],
)
def test_written_by_hand(tmp_path, data, message):
    _replace_pickle(tmp_path / "a.pt", data)
    with pytest.raises(CheckpointError, match=message):
        read_weight_file(tmp_path / "a.pt")


def test_files_of_the_old_format_say_how_to_convert_them(tmp_path):
    torch.save({"a": BASE}, tmp_path / "a.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"before torch 1\.6.*weights_only=True") as refused:
        read_weight_file(tmp_path / "a.bin")
    assert converted(refused.value, tmp_path / "a.bin") == {"a": BASE.tolist()}


def converted(refusal, file):
    """What comes of the command in a refusal's hint."""
    (problem,) = refusal.problems
    code = problem.hint.partition("python -c '")[2].removesuffix("'").replace("FILE", str(file))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=file.parent)
    written = load_file(file.parent / "model.safetensors")
    return {name: tensor.tolist() for name, tensor in written.items()}


def test_files_with_classes_of_their_own_say_how_to_convert_them(tmp_path):
    options = argparse.Namespace(steps=3)
    torch.save({"state_dict": {"a": BASE, "n": 3}, "options": options}, tmp_path / "a.ckpt")
    message = r"argparse.Namespace, which.*only if you trust who made it, as its code is run"
    with pytest.raises(CheckpointError, match=message) as refused:
        read_weight_file(tmp_path / "a.ckpt")
    assert converted(refused.value, tmp_path / "a.ckpt") == {"a": BASE.tolist()}


@pytest.mark.parametrize("kept", [0, 3, 100, 0.5, 0.99])
def test_files_that_end_early_are_refused(tmp_path, kept):
    path = tmp_path / "a.bin"
    torch.save(TENSORS, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept >= 1 else kept * len(data))])
    with pytest.raises(CheckpointError, match=r"torch file @ .*a\.bin"):
        read_weight_file(path)


def _rewritten(source, target, *, change=lambda name, data: data):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                with new.open(zipfile.ZipInfo(name), "w", force_zip64=True) as stream:
                    stream.write(data)


def test_zip64_records_are_found(tmp_path):
    torch.save({"a": BASE}, tmp_path / "a.pt")
    _rewritten(tmp_path / "a.pt", tmp_path / "b.pt")
    assert read_back(read_weight_file(tmp_path / "b.pt").tensors["a"]) == bytes_of(BASE)


@pytest.mark.parametrize(
    ("record", "data", "message"),
    [
        ("data/0", None, "storage '0' is not in the file"),
        ("data/0", b"short", "the storage is too short"),
        ("byteorder", b"big", "big-endian"),
        ("data.pkl", None, "got 0 records NAME/data.pkl"),
    ],
)
def test_unsound_records_are_refused(tmp_path, record, data, message):
    torch.save({"a": BASE}, tmp_path / "a.pt")

    def change(name, old):
        return data if name.endswith(record) else old

    _rewritten(tmp_path / "a.pt", tmp_path / "b.pt", change=change)
    with pytest.raises(CheckpointError, match=message):
        read_weight_file(tmp_path / "b.pt")


def test_compressed_records_are_refused(tmp_path):
    torch.save({"a": BASE}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as old,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(CheckpointError, match="is compressed"):
        read_weight_file(tmp_path / "b.pt")


def write_torch_model(folder, tensors, *, shards=1):
    """A folder with pytorch_model.bin, or its shards and index."""
    folder.mkdir()
    if shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
        return
    weight_map = {}
    for number in range(shards):
        name = f"pytorch_model-{number + 1:05}-of-{shards:05}.bin"
        part = dict(list(tensors.items())[number::shards])
        torch.save(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    index = json.dumps({"weight_map": weight_map})
    (folder / "pytorch_model.bin.index.json").write_text(index)


def _models(tmp_path):
    for number in range(2):
        tensors = {
            "a.weight": drawn(40, 30, seed=number),
            "b.weight": drawn(33, seed=9 + number).bfloat16(),
            "ids": torch.arange(4),
        }
        write_model(tmp_path / f"plain{number}", tensors)
        write_torch_model(tmp_path / f"torch{number}", tensors, shards=1 + number)


def _recipe(tmp_path, kind, method):
    models = [
        {"model": str(tmp_path / f"{kind}{n}"), "parameters": {"weight": 0.3 + n}} for n in (0, 1)
    ]
    content = {"merge_method": method, "models": models}
    if method == "ties":
        content["base_model"] = models[0]["model"]
        models[1]["parameters"]["density"] = 0.4
    return content


@pytest.mark.parametrize("method", ["linear", "ties"])
def test_merges_have_the_bytes_of_those_of_safetensors(tmp_path, method):
    _models(tmp_path)
    for kind in ("plain", "torch"):
        merge(_recipe(tmp_path, kind, method), tmp_path / f"out-{kind}")
    assert weights_digest(tmp_path / "out-plain") == weights_digest(tmp_path / "out-torch")


def test_the_same_files_in_a_folder_prefer_safetensors_and_say_so(tmp_path):
    write_model(tmp_path / "m", {"a": BASE})
    torch.save({"b": BASE}, tmp_path / "m" / "pytorch_model.bin")
    torch.save({"b": BASE}, tmp_path / "m" / "optimizer.pt")
    found = read_checkpoint(tmp_path / "m")
    assert list(found.tensors) == ["a"]
    assert found.unlisted == ("pytorch_model.bin",)


def test_missing_shards_and_several_files_are_refused(tmp_path):
    write_torch_model(tmp_path / "m", {"a": BASE, "b": BASE}, shards=2)
    (tmp_path / "m" / "pytorch_model-00001-of-00002.bin").unlink()
    with pytest.raises(CheckpointError, match=r"missing shard @ .*00001-of-00002\.bin"):
        read_checkpoint(tmp_path / "m")
    (tmp_path / "m" / "pytorch_model.bin.index.json").unlink()
    with pytest.raises(CheckpointError, match="1 of 2 shards are missing"):
        read_checkpoint(tmp_path / "m")
    torch.save({"a": BASE}, tmp_path / "m" / "other.pt")
    with pytest.raises(CheckpointError, match="several torch files"):
        read_checkpoint(tmp_path / "m")


def test_lone_files_and_consolidated_shards_are_models(tmp_path):
    torch.save({"a": BASE}, tmp_path / "consolidated.00.pth")
    torch.save({"b": BASE}, tmp_path / "consolidated.01.pth")
    assert list(read_checkpoint(tmp_path).tensors) == ["a", "b"]
    assert list(read_checkpoint(tmp_path / "consolidated.01.pth").tensors) == ["b"]


def test_the_fingerprint_changes_with_the_file(tmp_path):
    write_torch_model(tmp_path / "m", {"a": BASE})
    before = fingerprint(read_checkpoint(tmp_path / "m"))
    assert fingerprint(read_checkpoint(tmp_path / "m")) == before
    torch.save({"a": BASE + 1}, tmp_path / "m" / "pytorch_model.bin")
    assert fingerprint(read_checkpoint(tmp_path / "m")) != before


def test_reading_imports_no_torch(tmp_path):
    torch.save(TENSORS, tmp_path / "a.pt")
    code = (
        "import sys, pathlib; from graphmerge.checkpoint import read_checkpoint; "
        "found = read_checkpoint(pathlib.Path(sys.argv[1])); "
        "print(len(found.tensors), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.pt")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(len(TENSORS)), "False"]
