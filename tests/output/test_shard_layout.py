import json
import sys
from collections import Counter

import pytest
from drawn_layouts import TENSORS
from hypothesis import given, settings
from hypothesis import strategies as st

from graphmerge.errors import OutputError
from graphmerge.output.layout import DATA_ALIGNMENT, layout_shards
from graphmerge.spec import DType, TensorSpec


def bf16(numel):
    return TensorSpec((numel,), DType.BF16)


def file_names(layout):
    return [shard.file_name for shard in layout.shards]


def test_one_shard_has_the_plain_name():
    layout = layout_shards([("a", bf16(4)), ("b", bf16(4))], max_shard_bytes=16)
    assert file_names(layout) == ["model.safetensors"]
    assert layout.total_size_bytes == 16


def test_one_byte_less_makes_two_shards_and_an_index():
    layout = layout_shards([("a", bf16(4)), ("b", bf16(4))], max_shard_bytes=15)
    assert file_names(layout) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert json.loads(layout.indexes()["model.safetensors.index.json"]) == {
        "metadata": {"total_size": 16},
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors",
        },
    }


def test_a_tensor_above_the_limit_gets_a_shard_of_its_own():
    tensors = [("a", bf16(1)), ("large", bf16(100)), ("b", bf16(1)), ("c", bf16(1))]
    layout = layout_shards(tensors, max_shard_bytes=10)
    assert [slot.shard for slot in layout.slots.values()] == [0, 1, 2, 2]


def test_no_tensors_make_one_empty_shard():
    layout = layout_shards([], max_shard_bytes=10)
    assert file_names(layout) == ["model.safetensors"]
    assert layout.shards[0].size_bytes == len(layout.shards[0].header)


def test_given_order_is_kept_where_all_elements_are_of_one_width():
    names = ["lm_head", "embed", "layers.10", "layers.2"]
    layout = layout_shards([(name, bf16(3)) for name in names], max_shard_bytes=100)
    assert list(layout.slots) == names


def test_same_name_twice_is_refused():
    with pytest.raises(OutputError, match="two outputs have the same name @ a"):
        layout_shards([("a", bf16(1)), ("b", bf16(1)), ("a", bf16(2))], max_shard_bytes=10)


def test_digest_tells_layouts_apart():
    tensors = [("a", bf16(4)), ("b", bf16(4))]
    one, same, two = (layout_shards(tensors, max_shard_bytes=n) for n in (16, 17, 15))
    renamed = layout_shards([("a", bf16(4)), ("c", bf16(4))], max_shard_bytes=16)
    assert one.digest == same.digest
    assert len({one.digest, two.digest, renamed.digest}) == 3


@settings(deadline=None)  # beartype and loaded machines are slow
@given(tensors=TENSORS, max_shard_bytes=st.integers(1, 2000))
def test_tensors_fill_their_shard_without_hole_and_are_aligned(tensors, max_shard_bytes):
    layout = layout_shards(tensors, max_shard_bytes=max_shard_bytes)
    assert set(layout.slots) == {name for name, _ in tensors}
    ends = [len(shard.header) for shard in layout.shards]
    assert all(end % DATA_ALIGNMENT == 0 for end in ends)
    for slot in layout.slots.values():
        assert slot.offset == ends[slot.shard]
        assert slot.offset * 8 % slot.spec.dtype.bits == 0
        ends[slot.shard] += slot.spec.nbytes
    assert ends == [shard.size_bytes for shard in layout.shards]
    assert layout.total_size_bytes == sum(spec.nbytes for _, spec in tensors)


def calls_to_lay_out(count):
    """How many Python functions are called to lay out so many tensors, 55 in a shard."""
    tensors = [(f"model.layers.{n // 200}.experts.{n % 200}.weight", bf16(9)) for n in range(count)]
    calls, before = Counter(), sys.getprofile()
    sys.setprofile(lambda *event: calls.update(event[1:2]))
    try:
        layout = layout_shards(tensors, max_shard_bytes=1_000)
    finally:
        sys.setprofile(before)
    assert len(layout.slots) == count
    return calls["call"]


def test_ten_times_as_many_tensors_are_ten_times_as_much_work():
    assert calls_to_lay_out(8_000) < 11 * calls_to_lay_out(800)
