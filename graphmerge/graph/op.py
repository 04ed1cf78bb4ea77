"""What the graph knows of an op: how it maps specs and spaces, and how it may be cut into tiles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from graphmerge.graph.alike import Alike
    from graphmerge.graph.node import Node
    from graphmerge.spec import DType, TensorSpec


class Space(Enum):
    """What the values of a node mean."""

    WEIGHT = "weight"
    """Parameters of a model."""
    DELTA = "delta"
    """A difference of parameters: a task vector."""
    STATISTIC = "statistic"
    """A small value about a tensor: a norm, a Gram matrix, a threshold."""
    RECORD = "record"
    """What is written for a later merge and is no part of a model: masks, factors of tasks."""


class Access(Enum):
    """How a piece of an op's output depends on its inputs."""

    ELEMENTWISE = "elementwise"
    """The same flat range of every tensor input, and statistics."""
    ROWS = "rows"
    """Whole rows of every tensor input: the last axis complete."""
    WHOLE = "whole"
    """The whole of every tensor input at once."""
    REDUCE = "reduce"
    """All of the tensor inputs, into a statistic; blocks may come in any order."""
    SMALL = "small"
    """Statistics in, a statistic out; computed between passes."""


@frozen
class Workspace:
    """Bytes that a kernel allocates while it works on a tile."""

    per_element_bytes: int = 0
    """Bytes per element of the tile."""
    fixed_bytes: int = 0
    """Bytes whatever the tile."""
    shared_bytes: int = 0
    """Bytes that the process takes once, however many tiles are worked on: code that is loaded."""

    def at(self, tile_elements: int) -> int:
        """Bytes for a tile of this many elements, beside what is shared."""
        return self.per_element_bytes * tile_elements + self.fixed_bytes


@frozen
class Fusion:
    """What an op needs as a part of a native function, which goes through chunks of a tile.

    The last chunk of a tensor is padded with zeros. An elementwise op with native code maps zeros
    to zero, so that what is summed of the padding is zero.
    """

    reads_chunk: bool = False
    """Whether it looks at its input's whole chunk before its result can be used."""
    chunk_value: bool = False
    """Whether it works out an integer for each chunk before its result can be used."""
    mask: int = 0
    """Bytes per element of the chunk of what it makes first, such as a mask."""
    sum_columns: int = 0
    """Float64 sums that it takes of each numerics block."""
    histogram_bins: int = 0
    """Bins of the histogram that it takes of the tile, of 32 bits each."""
    block_sums: int = 0
    """Float64 values that it adds up itself for each numerics block."""
    spread_numbers: int = 0
    """Numbers per element of the chunk that it makes first, each kind in an array."""
    whole_rows: bool = False
    """Whether it goes through the whole rows of a tile, before chunks with its result are done."""

    @property
    def has_partial(self) -> bool:
        """Whether something comes back from a tile."""
        return bool(self.sum_columns or self.histogram_bins or self.block_sums)


class Op(ABC):
    """One kind of work, with its settings; concrete ops are frozen attrs classes.

    An op says what it is and what it costs. What it computes is a kernel registered for its class.
    """

    kind: ClassVar[str]
    """Name in recipes, plans and drawings: `task-vector`."""
    access: ClassVar[Access]
    """How the op may be tiled."""
    row_wise: ClassVar[bool] = False
    """Whether a reduction must have whole rows in a tile."""
    in_place: ClassVar[bool] = False
    """Whether the output may take over the buffer of the first input when nothing else needs it.
    False is the safe answer: a kernel that reads an input after writing its output must say so."""

    scheduled_alike: ClassVar[bool] = False
    """Whether no setting decides how ops of the class are scheduled: settings are numbers, or say
    where from and where to. See `structure`."""

    @abstractmethod
    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Spec of the output for inputs of these specs. Raises GraphError where they do not fit."""

    @abstractmethod
    def space(self, inputs: tuple[Space, ...]) -> Space:
        """Space of the output. Raises GraphError where the combination has no meaning."""

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Most bytes that the kernel allocates for a tile, beside inputs, output and scratch."""
        return Workspace()

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """Bytes that a reduction holds from its first block to its last."""
        return 0

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """Dtypes of the tile-sized scratch buffers that the kernel is handed."""
        return ()

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """What the op needs as a part of a native function; None where there is no code for it."""
        return None

    @property
    def fold_width(self) -> int:
        """How many inputs belong to one tensor, if a small op is a statistic over many; else 0.

        Such an op takes reductions in one tensor after the other, as passes over them are made, so
        that they are never held together. Statistics over many tensors among its inputs are held.
        """
        return 0

    @property
    def alike(self) -> tuple[Alike, ...]:
        """The kinds of tensors that a statistic over many goes by: see `graphmerge.graph.alike`.

        Its inputs are `fold_width` for the first tensor of each, and then statistics over tensors.
        Without kinds they are those of every tensor.
        """
        return ()

    def simplified(self, node: Node) -> Node:
        """The node itself, or one of the nodes below it that has the same value."""
        return node

    def for_tensors(self, names: Mapping[str, str]) -> Op:
        """The op that does the same for other tensors, whose names are given by those it has.

        Itself, unless the names of tensors are among its settings, as in those of random masks.
        """
        return self

    def structure(self) -> Hashable:
        """What of the op decides how it is scheduled; ops that share it differ in numbers only.

        The op itself is the safe answer, the class alone that of classes which are scheduled alike.
        Specs of inputs and output need not be part of it.
        """
        return type(self) if self.scheduled_alike else self

    def settings(self) -> str:
        """The op's settings for a reader of the plan: `density=0.5`. Empty when there are none."""
        return ""
