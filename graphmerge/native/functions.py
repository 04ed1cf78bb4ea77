"""Native functions of programs: made when first asked for, once per process."""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from operator import is_not
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from graphmerge.arrays import address_of
from graphmerge.frozen_classes import frozen
from graphmerge.native.file_reading import FILE_COLUMNS
from graphmerge.native.machine_code import loaded
from graphmerge.native.region import emit_region
from graphmerge.native.registry import lowering

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from graphmerge.graph import Node
    from graphmerge.native.registry import Arguments
    from graphmerge.schedule.fusion import FusedLayout
    from graphmerge.schedule.program import Program
    from graphmerge.statistics import Partial, Statistic

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

Made = TypeVar("Made")

FilePlace: TypeAlias = tuple[int, int]
"""The descriptor of an open file, and a position in it."""
_IN_MEMORY: FilePlace = (-1, 0)

_SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 8, *[ctypes.c_int64] * 3)
_lock = threading.Lock()
_functions: dict[Hashable, NativeFunction] = {}


@frozen(eq=False)
class Outcome:
    """What came out of a tile."""

    partials: dict[int, Partial]
    """Partial result of every reduction, by number of the instruction; gone with the next tile."""
    not_finite: tuple[int, ...]
    """Numbers of the loads in which NaN or infinity was seen."""
    failed: tuple[int, ...]
    """Numbers of the instructions whose check failed."""
    is_finite: bool
    """Whether no NaN or infinity was seen in the output; where there are, they may lie beyond it:
    the last vectors are computed whole."""
    unread: int | None = None
    """Number of a load that could not be read, for the caller to find out why; there is nothing
    else then."""


class NativeFunction:
    """A compiled program; many threads may call it, and none holds the interpreter's lock."""

    def __init__(
        self,
        program: Program,
        layout: FusedLayout,
        given: Sequence[Arguments],
        *,
        looks: bool,
        ranks: bool,
    ) -> None:
        self.layout = layout
        self.load_bits = tuple(load.spec.dtype.bits for load in program.loads)
        code = emit_region(program, layout, given, looks=looks, ranks=ranks)
        self._engine = loaded(str(code))
        self.call = _SIGNATURE(self._engine.get_function_address("region"))


class PreparedCall:
    """A native function with its arguments and memory, for tiles of one length; for one thread."""

    def __init__(
        self,
        function: NativeFunction,
        layout: FusedLayout,
        given: Sequence[Arguments],
        scratch: Bytes,
        partials: Bytes,
        count: int,
        tensors: int,
        ranking: Sequence[Bytes | NDArray[Any]] = (),
    ) -> None:
        """Prepare.

        Args:
            function: From `function_for`.
            layout: The program's own: what comes from a tile depends on shapes.
            given: Arguments of the instructions, from `arguments_of`.
            scratch: Memory of `layout.scratch_bytes`, aligned to 64 bytes.
            partials: The same of `layout.partial_bytes`, which stays as it is until the next call.
            count: Elements of a tile.
            tensors: Tiles that lie one behind the other in each input, each a whole tensor.
            ranking: Of a function that ranks rows a block of values and of a mask, which has room
                for 64 bytes more, and the arrays of a `Ranking`.
        """
        self._function = function
        self._count = count
        self._tensors = tensors
        self._partials = _partials(layout, count, partials)
        cleared = [
            self._partials[step.number]
            for step in layout.steps
            if step.needs.histogram_bins or step.needs.block_sums
        ]
        self._cleared = [(address_of(partial), partial.nbytes) for partial in cleared]
        self._numbers = np.array([x for one in given for x in one.numbers], dtype=np.float64)
        self._words = np.array([x for one in given for x in one.words], dtype=np.uint64)
        self._flags = np.zeros(3, dtype=np.uint64)
        places = list(map(address_of, ranking or self._partials.values()))
        self._places = np.array(places, dtype=np.uint64)
        self._held = scratch, ranking  # else they could be gone before the call
        held = (self._places, self._numbers, self._words, scratch, self._flags)
        self._inputs: list[Bytes] = []
        self._pointers: ctypes.Array[ctypes.c_void_p] = (ctypes.c_void_p * 0)()
        self._sizes = [bits * count // 8 for bits in function.load_bits]
        self._files = np.empty(FILE_COLUMNS * len(self._sizes), dtype=np.int64)
        self._file_address = address_of(self._files)
        self._output: Bytes | None = None
        self._output_address: int | None = None
        self._addresses = tuple([address_of(array) for array in held])

    def give(self, given: Sequence[Arguments]) -> None:
        """Go on with other arguments: those of a program with the same layout."""
        self._numbers[:] = [x for one in given for x in one.numbers]
        self._words[:] = [x for one in given for x in one.words]

    def __call__(
        self,
        inputs: Sequence[Bytes],
        start: int,
        files: Sequence[FilePlace | None] = (),
        output: Bytes | None = None,
    ) -> Outcome:
        """Run the program on one tile.

        Args:
            inputs: Stored bytes of every load, for this tile, or for all of the tensors; for what
                is in a file room for them, or for a block of them.
            start: Flat index of the tile's first element, a multiple of the numerics block.
            files: For every load where in a file the tile begins, None for one that is in memory;
                nothing where all are.
            output: Where the bytes of the output go; None if the program only reduces.
        """
        for address, size_bytes in self._cleared:
            ctypes.memset(address, 0, size_bytes)  # six times as fast as numpy's fill
        self._flags.fill(0)
        self._point_to(inputs)
        self._read_from(files or [None] * len(inputs))
        if output is not None and output is not self._output:
            self._output, self._output_address = output, address_of(output)
        unread = self._function.call(
            self._pointers,
            self._file_address,
            self._output_address,
            *self._addresses,
            start,
            self._count,
            self._tensors,
        )
        if unread:
            return Outcome({}, (), (), is_finite=True, unread=unread - 1)
        seen, failed, spoilt = self._flags.tolist()
        return Outcome(self._partials, _set_bits(seen), _set_bits(failed), not spoilt)

    def _point_to(self, inputs: Sequence[Bytes]) -> None:
        """Take the addresses of inputs, unless they lie where those of the tile before lay."""
        known = self._inputs
        if len(known) != len(inputs) or any(map(is_not, known, inputs)):
            self._inputs = list(inputs)
            self._pointers = (ctypes.c_void_p * len(inputs))(*map(address_of, inputs))

    def _read_from(self, files: Sequence[FilePlace | None]) -> None:
        """Take the places of loads in files."""
        self._files[:] = file_columns(files, self._inputs, self._sizes)


def file_columns(
    files: Sequence[FilePlace | None], inputs: Sequence[Bytes], sizes: Sequence[int]
) -> list[int]:
    """What native code is told of loads whose tiles take so many bytes: see `file_reading`."""
    columns: list[int] = []
    for place, held, size in zip(files, inputs, sizes, strict=True):
        columns += (*(place or _IN_MEMORY), held.nbytes >= size)
    return columns


def _partials(layout: FusedLayout, count: int, memory: Bytes) -> dict[int, Partial]:
    """Partial results by number of the instruction."""
    partials: dict[int, Partial] = {}
    begin = 0
    for step, shape, size in layout.partials(count):
        kind = np.uint32 if step.needs.histogram_bins else np.float64
        partials[step.number] = np.ndarray(shape, kind, memory[begin : begin + size].data)
        begin += size
    return partials


def arguments_of(program: Program, statistics: Mapping[Node, Statistic]) -> list[Arguments]:
    """What the instructions of a program are given, once the statistics that they read are made."""
    return [
        lowering(item.node.op).arguments(
            item.node.op, [statistics[value] for value in item.statistics]
        )
        for item in program.instructions
    ]


def function_for(
    program: Program, given: Sequence[Arguments], *, looks: bool = True, ranks: bool = False
) -> NativeFunction:
    """The function of a program that has a fused layout; compiled if it is the first of its kind.

    Args:
        program: The program.
        given: Its arguments; the function is good for any others.
        looks: Whether it looks for NaN and infinity in loads: once is enough, in the first pass
            that reads them.
        ranks: Whether it makes the mask of the rows of the result, by their ranks.
    """
    layout = program.fused
    assert layout is not None, "the plan runs only programs with a layout as native code"
    with _lock:
        key = layout.signature, looks, ranks
        if key not in _functions:
            _functions[key] = NativeFunction(program, layout, given, looks=looks, ranks=ranks)
        return _functions[key]


def _set_bits(word: int) -> tuple[int, ...]:
    if not word:
        return ()
    return tuple(number for number in range(word.bit_length()) if word >> number & 1)


def once(make: Callable[..., Made]) -> Callable[..., Made]:
    """The function, called once for the same arguments, however many threads ask at a time."""
    known = cache(make)

    def locked(*args: Hashable) -> Made:
        with _lock:
            return known(*args)

    return locked
