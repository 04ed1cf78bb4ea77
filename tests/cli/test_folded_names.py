import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphmerge.checkpoint.folding import fold_names


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        ([], []),
        (["a.weight"], ["a.weight"]),
        (["l.0.w", "l.1.w", "l.2.w"], ["l.{0..2}.w"]),
        (["l.0.w", "l.2.w", "l.3.w"], ["l.{0,2..3}.w"]),
        (["l.7.w"], ["l.7.w"]),
        (["e", "l.0.w", "l.0.b", "l.1.w", "l.1.b", "n"], ["e", "l.{0..1}.w", "l.{0..1}.b", "n"]),
        ([f"l.{i}.e.{j}.w" for i in range(2) for j in range(3)], ["l.{0..1}.e.{0..2}.w"]),
        (["l.0.e.0.w", "l.0.e.1.w", "l.1.e.0.w"], ["l.0.e.{0..1}.w", "l.1.e.0.w"]),
    ],
)
def test_patterns(names, patterns):
    assert [folded.pattern for folded in fold_names(names)] == patterns


@given(st.sets(st.from_regex(r"[ab](\.([0-3]|w)){0,4}", fullmatch=True)))
def test_every_name_is_in_one_pattern_and_patterns_make_nothing_up(names):
    folded = fold_names(sorted(names))
    assert sorted(name for group in folded for name in group.names) == sorted(names)
    assert len({group.pattern for group in folded}) == len(folded)
