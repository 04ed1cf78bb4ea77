"""Whole small tensors are read behind one another, neighbours in a file by one call."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphmerge.checkpoint.values import TensorEntry
from graphmerge.errors import CheckpointError
from graphmerge.execution.reading import FileReader
from graphmerge.neighbours import neighbours
from graphmerge.spec import DType, TensorSpec

SPEC = TensorSpec((5,), DType.U8)
PLACES = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6).map(lambda n: 3 * n)))


@given(PLACES)
def test_neighbours_are_all_pieces_in_order_and_as_few_as_can_be(places):
    found = list(neighbours(places, 3))
    assert [n for first, stop in found for n in range(first, stop)] == list(range(len(places)))
    for first, stop in found:
        file, offset = places[first]
        assert places[first:stop] == [(file, offset + 3 * n) for n in range(stop - first)]
    for _, stop in found[:-1]:
        file, offset = places[stop - 1]
        assert places[stop] != (file, offset + 3)


def entries(folder, numbers):
    """Tensors by their place in a file of twenty, the second ten in another file."""
    return [
        TensorEntry(f"w{n}", SPEC, folder / "ab"[n // 10], 7 + SPEC.nbytes * (n % 10))
        for n in numbers
    ]


def write_files(folder):
    data = np.arange(100, dtype=np.uint8)
    (folder / "a").write_bytes(bytes(7) + data[:50].tobytes())
    (folder / "b").write_bytes(bytes(7) + data[50:].tobytes())
    return data.reshape(20, 5)


@pytest.mark.parametrize(
    ("numbers", "calls"),
    [([3], 1), ([3, 4, 5], 1), ([8, 9, 10, 11], 2), ([5, 4], 2), ([0, 1, 3, 4], 2)],
)
def test_neighbours_are_read_by_one_call(tmp_path, monkeypatch, numbers, calls):
    data, seen, read = write_files(tmp_path), [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda *given: seen.append(given) or read(*given))
    buffer = np.zeros(5 * len(numbers), np.uint8)
    with FileReader() as reader:
        reader.read_whole(entries(tmp_path, numbers), buffer)
    assert buffer.tobytes() == data[numbers].tobytes()
    assert len(seen) == calls


def test_a_file_that_ends_early_is_told_of_the_tensor_that_it_lacks(tmp_path):
    write_files(tmp_path)
    os.truncate(tmp_path / "a", 7 + 4 * SPEC.nbytes + 2)
    message = "ends before byte 32.*a, tensor w4"
    with FileReader() as reader, pytest.raises(CheckpointError, match=message):
        reader.read_whole(entries(tmp_path, [2, 3, 4, 5]), np.zeros(20, np.uint8))


def test_a_call_that_reads_less_than_asked_for_is_no_failure(tmp_path, monkeypatch):
    data, read = write_files(tmp_path), os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, views, at: read(file, [views[0][:3]], at))
    buffer = np.zeros(20, np.uint8)
    with FileReader() as reader:
        reader.read_whole(entries(tmp_path, [2, 3, 4, 5]), buffer)
    assert buffer.tobytes() == data[2:6].tobytes()
