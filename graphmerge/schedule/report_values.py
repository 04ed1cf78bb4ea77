"""What a plan says to its reader; the field names are those of `graphmerge plan --json`."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias, overload

from attrs import field

from graphmerge.frozen_classes import frozen
from graphmerge.schedule.made_late import MadeLate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from graphmerge.schedule.input_reports import InputReport
    from graphmerge.schedule.order import Member
    from graphmerge.schedule.simulate import Timeline


@frozen
class UnitReport:
    """One step of the order: the work for an output tensor, or for what other units need."""

    name: str
    """First output tensor of the unit, or what it makes for others."""
    passes: int
    """Passes over its inputs."""
    read_bytes: int
    """Bytes read from files."""
    live_bytes: int
    """Kept inputs and statistics while the unit is in flight."""
    stored_bytes: int
    """What the unit stores for others, until the last of them has let go of it."""
    tile_bytes: int
    """Registers, buffers and kernel workspace of one worker."""


Sizes: TypeAlias = "tuple[int, int, int, int, int]"
"""The fields of a report on a unit, but for its name."""


@frozen(eq=False, slots=False)
class UnitReports(Sequence[UnitReport]):
    """A report on every unit in order, made when somebody asks for it."""

    members: tuple[Member, ...]
    """Groups of units in order."""
    sizes: Mapping[int, Sequence[Sizes]]
    """What is to be said of the units of every option, by its `id`."""

    @cached_property
    def _starts(self) -> list[int]:
        return list(accumulate((len(member.option) for member in self.members), initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[UnitReport]:
        for member in self.members:
            pairs = zip(member.names, self.sizes[id(member.option)], strict=True)
            yield from (UnitReport(name, *sizes) for name, sizes in pairs)

    @overload
    def __getitem__(self, index: int) -> UnitReport: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[UnitReport]: ...
    def __getitem__(self, index: int | slice) -> UnitReport | Sequence[UnitReport]:
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, int) else [self._at(one) for one in places]

    def _at(self, index: int) -> UnitReport:
        number = bisect_right(self._starts, index) - 1
        member, place = self.members[number], index - self._starts[number]
        return UnitReport(member.names[place], *self.sizes[id(member.option)][place])


@frozen
class SharedResult:
    """A result between inputs and outputs that several passes need."""

    kind: str
    """Kind of its node."""
    tensor: str
    """An output tensor that it is for."""
    passes: int
    """Passes that need it: that read it from memory, or that compute it again."""
    result_bytes: int
    """Its size; what it takes in memory if it is stored."""


Result: TypeAlias = "tuple[str, int, int]"
"""The fields of a shared result, but for the tensor: kind, passes, bytes."""


@frozen(eq=False, slots=False)
class SharedResults(MadeLate[SharedResult]):
    """Results that several passes need, each made when somebody asks for it."""

    single: tuple[SharedResult, ...]
    """Those of outputs that are treated one by one."""
    members: tuple[Member, ...]
    """Groups of units in order, those of patterns among them."""
    alike: Mapping[int, Sequence[Result]]
    """Results for each output of a pattern, by the `id` of its option."""

    def counted(self) -> Iterator[tuple[Result, int]]:
        """What the results are, with how many there are of it."""
        yield from (((one.kind, one.passes, one.result_bytes), 1) for one in self.single)
        times = Counter([id(member.option) for member in self.members])
        for key, results in self.alike.items():
            yield from ((result, times[key]) for result in results)

    @cached_property
    def _all(self) -> tuple[SharedResult, ...]:
        found = (
            SharedResult(kind, member.output.name, passes, size)
            for member in self.members
            if member.output is not None
            for kind, passes, size in self.alike[id(member.option)]
        )
        return (*self.single, *found)

    def __len__(self) -> int:
        return sum(count for _, count in self.counted())


@frozen
class TensorGroup:
    """Tensors that share a fate, for one reason."""

    reason: str
    """Why; empty for merged tensors."""
    names: tuple[str, ...]
    """Output tensors; for those left out, names in their model."""
    model: str = ""
    """The model that has the tensors; empty for output tensors."""


@frozen
class PlanReport:
    """All that `graphmerge plan` shows."""

    fits: bool
    """Whether the predicted peak is within the budget."""
    budget_bytes: int
    """Bound of the peak resident memory of the whole process."""
    predicted_peak_bytes: int
    """The most resident memory that the process will have."""
    least_budget_bytes: int
    """The smallest budget that any plan fits."""
    reserved_bytes: int
    """Interpreter, libraries, threads, graph and plan."""
    live_bytes: int
    """Kept inputs and statistics of the units in flight, and stored tensors."""
    workspace_bytes: int
    """Registers and kernel workspace of all workers."""
    buffer_bytes: int
    """Read and write buffers of all workers."""
    calibrated: bool
    """Whether the reserved part was measured on this machine."""
    device: str
    """Where kernels run."""
    gpu_budget_bytes: int | None
    """Bound of the memory on the device; None if none was given."""
    device_bytes: int
    """Predicted bytes on the device."""
    workers: int
    """Worker threads."""
    tile_elements: int
    """Elements of a tile."""
    estimated_seconds: float
    """Estimated duration, by a cost model that is only good for comparing plans."""
    read_bytes: int
    """Bytes that are read from input files."""
    written_bytes: int
    """Bytes of tensors that are written."""
    shards: int
    """Safetensors files of the output."""
    tensors: int
    """Tensors of the output."""
    inputs: tuple[InputReport, ...]
    """What is read."""
    nodes: Mapping[str, int] = field(hash=False)
    """Number of nodes of each kind."""
    passes: int
    """Passes over inputs, all units together."""
    executors: dict[str, int]
    """How many passes are run by what: `copy`, `native` or `torch`."""
    units: UnitReports
    """The order of work."""
    stored: SharedResults
    """Results that are computed once and stored in memory for the passes that need them."""
    computed_again: SharedResults
    """Results that each pass computes for itself: sooner done than stored, or storing does not
    fit."""
    merged: tuple[TensorGroup, ...]
    """Output tensors that are computed."""
    copied: tuple[TensorGroup, ...]
    """Output tensors that are copied."""
    left_out: tuple[TensorGroup, ...]
    """Input tensors that do not reach the output."""
    notes: tuple[str, ...]
    """What is done with vocabularies."""
    warnings: tuple[str, ...]
    """What the user should know before running."""
    moments: Timeline
    """Memory over time: one moment for each pass."""

    def offenders(self) -> tuple[UnitReport, ...]:
        """The units, the one that needs most memory first."""
        return tuple(sorted(self.units, key=lambda unit: -unit.live_bytes - unit.tile_bytes))
