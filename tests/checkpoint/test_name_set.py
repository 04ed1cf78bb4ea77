"""What is worked out once per kind of name is what each name by itself gives."""

import re

from hypothesis import given
from hypothesis import strategies as st

from graphmerge.checkpoint.name_set import NameSet, name_set, natural_name_set
from graphmerge.checkpoint.names import natural_sorted, split_block

segments = st.sampled_from(
    ["layers", "conv1", "conv2", "w12", "0", "1", "7", "10", "12", "token2wav"]
)
names = st.lists(segments, min_size=1, max_size=5).map(".".join)
many = st.lists(names, unique=True, max_size=30)


@given(many)
def test_matching_is_as_for_each_name(found):
    known = NameSet(tuple(found))
    for pattern in (r"(.*\.)?conv1(\..*)?", r".*w1.*", r"layers", r".*2wav", r".*\d.*"):
        wanted = tuple(name for name in found if re.fullmatch(pattern, name))
        assert known.matching(re.compile(pattern).fullmatch) == wanted


@given(many)
def test_blocks_are_those_of_each_name(found):
    known = NameSet(tuple(found))
    assert known.blocks == tuple(map(split_block, found))
    assert known.outside.names == tuple(name for name in found if split_block(name) is None)
    assert sum(map(len, known.indexes.values())) == len(found) - len(known.outside.names)


@given(many)
def test_equal_names_are_one_set_while_it_is_in_use(found):
    first, other = name_set(found), name_set(list(found))
    assert first is other
    ordered = natural_name_set(found)
    assert ordered is natural_name_set(tuple(found))
    assert list(ordered.names) == natural_sorted(found)


def test_a_predicate_is_asked_once_for_each_kind():
    asked = []
    experts = [f"model.layers.{i}.mlp.experts.{j}.up.weight" for i in range(12) for j in range(101)]
    known = NameSet((*experts, "norm1.weight", "norm2.weight"))
    assert known.matching(lambda name: asked.append(name) or "norm1" in name) == ("norm1.weight",)
    assert len(asked) == 2 * 3 + 2  # numbers of one and two digits, of one, two and three
