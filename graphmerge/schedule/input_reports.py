"""What a plan reads of each model: all of its report that a run needs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.ops.rows import GatherRows
from graphmerge.ops.sources import LoadTensor
from graphmerge.schedule.program import stored_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from graphmerge.checkpoint.values import TensorEntry
    from graphmerge.graph import Op, Value
    from graphmerge.schedule.order import Option
    from graphmerge.schedule.plan import Plan
    from graphmerge.schedule.units import Work


@frozen
class InputReport:
    """What is read of one model."""

    model: str
    """The model as the recipe refers to it."""
    files: tuple[str, ...]
    """Its files that are read."""
    tensors: int
    """Stored tensors that are read."""
    read_bytes: int
    """Bytes that are read; a tensor that is read twice counts twice."""
    dtypes: tuple[str, ...]
    """Stored dtypes, as safetensors names them."""


def input_reports(plan: Plan) -> tuple[InputReport, ...]:
    """What is read of each model, by the models' names."""
    read: dict[str, _Read] = {}
    for ops, size in (*_read_by_many(plan), *_read_by_one(plan)):
        loads = [op for op in ops if isinstance(op, LoadTensor)]
        assert len(loads) == len(ops), "only stored tensors are read"
        for model in {load.model for load in loads}:
            own = [load.entry for load in loads if load.model == model]
            read.setdefault(model, _Read()).add(own, size)
    return tuple(read[model].report(model) for model in sorted(read))


def _read_by_many(plan: Plan) -> Iterator[tuple[Sequence[Op], int]]:
    """What units that have nodes in common read, and how many bytes of it."""
    read: Counter[Op] = Counter()
    alike: dict[Op, Sequence[Op]] = {}
    for member in plan.order.members:
        for unit in member.option if member.output is None else ():
            for op, size in _reads(unit.unit.work, unit.keeps):
                read[op] += size
            for one in unit.unit.work.rounds:
                members = one.alike.members
                for place, op in enumerate(members[0].leaves):
                    if op not in alike:
                        alike[op] = [other.leaves[place] for other in members]
    yield from ((alike.get(op, (op,)), size) for op, size in read.items())


def _read_by_one(plan: Plan) -> Iterator[tuple[Sequence[Op], int]]:
    """The same of outputs that have no node in common with another: of all that have one option."""
    together: dict[int, tuple[Option, list[Value]]] = {}
    for member in plan.order.members:
        if member.output is not None:
            _, values = together.setdefault(id(member.option), (member.option, []))
            values.append(member.output.value)
    for option, values in together.values():
        places = {leaf: place for place, leaf in enumerate(values[0].pattern.leaves)}
        for unit in option:
            for op, size in _reads(unit.unit.work, unit.keeps):
                place = places[op]
                yield [value.leaves[place] for value in values], size


def _reads(work: Work, keeps: bool) -> Iterator[tuple[Op, int]]:  # noqa: FBT001 - a pair
    """What is read for a work, and how many bytes of it."""
    for load, count in work.reads().items():
        times = 1 if keeps else count
        stored = stored_inputs(load)
        if isinstance(load.op, GatherRows):  # from the first input mostly
            yield stored[0].op, load.spec.nbytes * times
        else:
            yield from ((value.op, value.spec.nbytes * times) for value in stored)


class _Read:
    """What is read of one model."""

    def __init__(self) -> None:
        self._entries: dict[int, TensorEntry] = {}  # by `id`: they are many, and each is one object
        self._read_bytes = 0

    def add(self, entries: Sequence[TensorEntry], size: int) -> None:
        """Tensors, of each of which so many bytes are read."""
        self._entries.update(zip(map(id, entries), entries, strict=True))
        self._read_bytes += size * len(entries)

    def report(self, model: str) -> InputReport:
        """All of it."""
        entries = self._entries.values()
        files = {id(entry.file): entry.file for entry in entries}
        return InputReport(
            model=model,
            files=tuple(sorted(set(map(str, files.values())))),
            tensors=len(entries),
            read_bytes=self._read_bytes,
            dtypes=tuple(sorted({entry.spec.dtype.value for entry in entries})),
        )
