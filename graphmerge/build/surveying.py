"""What a method's survey looks at: the tensors of a merge, the first of each kind for all alike."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from graphmerge.graph import Alike, Member

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from typing import Any

    from graphmerge.build.matching import Match
    from graphmerge.build.tensors import Read, TensorBuilder
    from graphmerge.methods.base import MergeInputs

    Attempt = Callable[[str, Callable[[], Any]], Any]


def surveyed(
    builder: TensorBuilder, matches: Sequence[Match], attempt: Attempt
) -> tuple[MergeInputs, ...]:
    """What the method gets for its survey.

    Args:
        builder: Builds the tensors of the merge.
        matches: All of them.
        attempt: Calls a function for the tensor of a name; None where that fails.
    """
    reads = [attempt(match.name, partial(builder.read_ahead, match)) for match in matches]
    pairs = [(match, read) for match, read in zip(matches, reads, strict=True) if read is not None]
    if all(read.is_shared for read in {read.kind: read for _, read in pairs}.values()):
        found = [
            attempt(match.name, partial(builder.prepare, match, alike))
            for match, alike in _kinds(pairs)
        ]
    else:
        found = [attempt(match.name, partial(builder.prepare, match)) for match, _ in pairs]
    return tuple(merge for merge in found if merge is not None)


def _kinds(pairs: Sequence[tuple[Match, Read]]) -> list[tuple[Match, Alike]]:
    """The first tensor of each kind with all of it; what is made of the same counts once."""
    first: dict[Hashable, Match] = {}
    members: dict[Hashable, list[Member]] = {}
    seen: set[Hashable] = set()
    for place, (match, read) in enumerate(pairs):
        known = len(seen)
        seen.add((tuple([id(tensor.pattern) for tensor in read.inputs]), read.leaves, read.tensors))
        if len(seen) == known:  # a second look-up of hundreds of thousands of leaves takes time
            continue
        first.setdefault(read.kind, match)
        members.setdefault(read.kind, []).append(Member(place, read.leaves, read.tensors))
    return [(match, Alike(tuple(members[kind]))) for kind, match in first.items()]
