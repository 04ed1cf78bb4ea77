"""A header is refused with the file, the tensor and the fault in the message; else it is right."""

import json
import math
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphmerge.checkpoint import parse_header, read_header
from graphmerge.checkpoint.header import _parse_each
from graphmerge.errors import CheckpointError, MachineError
from graphmerge.spec import DType, TensorSpec

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def entry(begin, end, **changes):
    return {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]} | changes


def test_entries_say_where_the_bytes_are(write_file):
    path = write_file({"__metadata__": {"format": "pt"}, "a": F32, "b": entry(8, 11)}, b"x" * 11)
    header = read_header(path)
    assert header.metadata == {"format": "pt"}
    assert list(header.tensors) == ["a", "b"]
    b = header.tensors["b"]
    assert (b.name, b.spec, b.file) == ("b", TensorSpec((3,), DType.U8), path)
    assert b.offset + 3 == path.stat().st_size


@pytest.mark.parametrize("dtype", DType, ids=lambda dtype: dtype.value)
def test_every_dtype_has_its_size(write_file, dtype):
    size = 8 * dtype.bits // 8
    path = write_file({"t": entry(0, size, dtype=dtype.value, shape=[8])}, b"x" * size)
    assert read_header(path).tensors["t"].spec == TensorSpec((8,), dtype)


def test_scalars_and_empty_tensors_are_tensors(write_file):
    header = {"none": entry(4, 4), "scalar": F32 | {"shape": [], "data_offsets": [0, 4]}}
    assert len(read_header(write_file(header, b"1234")).tensors) == 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"t": 3}, "not a tensor entry @ .*model.safetensors: 't': got int"),
        ({"t": {}}, "unknown dtype @ .*: 't': got None"),
        ({"t": F32 | {"dtype": "F7"}}, "unknown dtype @ .*: 't': got 'F7'; wanted one of BOOL, "),
        ({"t": F32 | {"dtype": ["F32"]}}, "unknown dtype"),
        ({"t": F32 | {"shape": [-1]}}, r"invalid shape @ .*: 't': got \[-1\]"),
        ({"t": F32 | {"shape": [2.0]}}, "invalid shape"),
        ({"t": F32 | {"shape": [True, 2]}}, "invalid shape"),
        ({"t": F32 | {"shape": "2"}}, "invalid shape"),
        ({"t": F32 | {"shape": [2**63]}}, "invalid shape"),
        ({"t": F32 | {"shape": [1] * 64 + [2]}}, "invalid shape"),
        ({"t": F32 | {"shape": [2**40, 2**40]}}, "do not fit the shape"),
        ({"t": F32 | {"shape": [3]}}, r"do not fit the shape @ .*: got 8 bytes; wanted 12 for F32"),
        ({"t": F32 | {"data_offsets": [8, 0]}}, "invalid data_offsets"),
        ({"t": F32 | {"data_offsets": [0]}}, "invalid data_offsets"),
        ({"t": F32 | {"data_offsets": [-8, 0]}}, "invalid data_offsets"),
        ({"t": F32 | {"data_offsets": None}}, "invalid data_offsets"),
        ({"t": F32, "u": entry(4, 8)}, "overlaps 't' by 4 bytes @ .*: 'u'"),
        ({"t": F32, "u": F32}, "overlaps 't' by 8 bytes @ .*: 'u'"),
        ({"t": entry(1, 8)}, "gap of 1 bytes before the tensor @ .*: 't'"),
        ({"t": entry(0, 5)}, "3 bytes after the last tensor"),
        ({"t": entry(0, 12)}, "truncated file: 4 bytes are missing @ .*: 't'"),
        ({"t": F32, "__metadata__": {"format": 1}}, "invalid __metadata__"),
        ({"t": F32, "__metadata__": []}, "invalid __metadata__"),
        ([], "invalid header @ .*model.safetensors: got list"),
        (b'{"t":', "invalid header"),
        (b"\xff{}", "invalid header.*utf-8"),
        (b'{"t": {}, "t": {}}', "invalid header.*'t' is given twice"),
        (b'{"\\ud800": {}}', "invalid header.*surrogates"),
        (b"[" * 100_000, "invalid header"),
        (b"[" + b"9" * 5000 + b"]", "invalid header"),
    ],
)
def test_corrupt_headers_are_refused(write_file, value, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        read_header(write_file(value, b"x" * 8))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file @ .*: got 0 bytes; wanted 8 bytes or more"),
        (b"1234567", "got 7 bytes"),
        ((100).to_bytes(8, "little") + b"{}", "truncated file @ .*: got 2 bytes of header; wanted"),
        (
            (100_000_001).to_bytes(8, "little"),
            "header of 100000001 bytes; wanted at most 100000000",
        ),
        ((100_000_000).to_bytes(8, "little"), "truncated file"),
    ],
)
def test_files_without_header_are_refused(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_header(path)


def test_ten_problems_are_shown_and_the_rest_counted(write_file):
    header = {f"t{number}": F32 | {"dtype": "F7"} for number in range(25)}
    with pytest.raises(CheckpointError, match="15 more problems") as caught:
        read_header(write_file(header))
    assert len(caught.value.problems) == 11


def test_unreadable_file_is_the_machine_s_fault(tmp_path):
    with pytest.raises(MachineError, match=f"cannot read @ {re.escape(str(tmp_path))}"):
        read_header(tmp_path)


def total_bytes(header):
    return sum(entry.spec.nbytes for entry in header.tensors.values())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
fields = {
    "dtype": st.sampled_from([dtype.value for dtype in DType]) | json_values,
    "shape": st.lists(st.integers(-1, 5), max_size=3) | json_values,
    "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | json_values,
}
headers = st.dictionaries(st.text(max_size=3), st.fixed_dictionaries(fields) | json_values)


@given(headers.map(lambda header: json.dumps(header).encode()) | st.binary(), st.integers(0, 80))
def test_no_header_breaks_the_parser(tmp_path_factory, data, data_bytes):
    """Any bytes give tensors that fill the data exactly, or a CheckpointError."""
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    header = None
    with suppress(CheckpointError):
        header = parse_header(data, path, file_bytes=8 + len(data) + data_bytes)
    assert header is None or total_bytes(header) == data_bytes


def fitting(entries):
    """A header whose ranges follow one another, and the size of its data."""
    header, end = {}, 0
    for name, (dtype, shape) in entries.items():
        size = (math.prod(shape) * DType(dtype).bits + 7) // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return header, end


kinds = st.tuples(
    st.sampled_from([dtype.value for dtype in DType]), st.lists(st.integers(0, 5), max_size=3)
)
sound = st.dictionaries(st.text(max_size=3), kinds).map(fitting)
faults = st.dictionaries(
    st.text(max_size=3), st.fixed_dictionaries({}, optional=fields), max_size=1
)


@given(sound, faults, st.integers(0, 1), st.booleans(), st.data())
def test_headers_read_at_once_are_as_when_read_tensor_by_tensor(good, fault, more, escaped, data):
    header, size = good
    names = data.draw(st.permutations([*header, *(fault.keys() - header.keys())]))
    content = {name: header.get(name) or fault[name] for name in names}
    text = json.dumps(content, ensure_ascii=escaped).encode()
    sizes = 8 + len(text), size + more
    at_once = outcome(lambda file: parse_header(text, file, file_bytes=sum(sizes)))
    assert at_once == outcome(lambda file: _parse_each(text, file, sizes[0], sum(sizes)))


def outcome(parse):
    """The tensors in order, or what is said to be wrong."""
    try:
        header = parse(Path("model.safetensors"))
    except CheckpointError as error:
        return str(error)
    return list(header.tensors.items()), dict(header.metadata)


def test_most_headers_are_read_at_once_and_equal_ones_once(write_file):
    path = write_file({"a": F32, "b": entry(8, 11)}, b"x" * 11)
    first, other = read_header(path), read_header(path)
    assert first.columns is not None
    assert first.columns is other.columns
    assert read_header(write_file({"a:b": F32}, b"x" * 8)).columns is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example overwrites
@given(st.binary(max_size=64), st.integers(0, 63), st.integers(0, 255))
def test_no_file_breaks_the_reader(tmp_path, tail, position, byte):
    """A good file with one byte changed and bytes after it is read or refused."""
    good = bytearray(safetensors.numpy.save({"t": np.ones((2, 2), np.float32)}))
    good[position] = byte
    path = tmp_path / "fuzz.safetensors"
    path.write_bytes(bytes(good) + tail)
    header = None
    with suppress(CheckpointError):
        header = read_header(path)
    assert header is None or total_bytes(header) <= 16 + len(tail)


numpy_dtypes = st.sampled_from(["bool", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8", "i8"])
arrays = st.builds(np.ones, st.lists(st.integers(0, 4), max_size=3).map(tuple), numpy_dtypes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example overwrites
@given(st.dictionaries(st.text(max_size=8), arrays, max_size=6))
def test_files_of_the_safetensors_library_are_read(tmp_path, tensors):
    """`offset` and `nbytes` are where the library put the bytes of each array."""
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    found = read_header(path).tensors
    assert found.keys() == tensors.keys()
    content = path.read_bytes()
    for name, array in tensors.items():
        entry = found[name]
        assert entry.spec.shape == array.shape
        assert content[entry.offset : entry.offset + entry.spec.nbytes] == array.tobytes()
