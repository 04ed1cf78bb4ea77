"""Emit the function of a program: chunks of a tile, loops over vectors, sums of blocks.

    int64 region(
        inputs, files, output, partials, numbers, words, scratch, flags, start, count, tensors
    )

`inputs` and `partials` are arrays of addresses, `files` says which inputs are read first, block by
block, `numbers` are float64, `words` 64-bit integers. The result is 0, or 1 and the number of the
load that could not be read. `flags` are three sets of 64 bits: the loads with NaN or infinity, the
instructions whose check failed, and the lowest bit where the output has NaN or infinity, or what is
beyond its end has. Several tensors of `count` elements lie one behind the other, all in memory;
only where nothing is reduced.

A function that ranks makes the mask of the rows of its result, block by block: `output` is the
mask, and `partials` has the addresses of a block of values, of the mask of a block, and of what
`rank_rows` takes; its last word is the elements of a block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.chunk import ChunkEmitter
from graphmerge.native.file_reading import block_of, emit_read
from graphmerge.native.loops import at, clear, integer, least, load_element, loop
from graphmerge.native.memory import Scratch
from graphmerge.native.ranking import BLOCK, ROW, emit_ranking
from graphmerge.native.types import (
    DOUBLE,
    ELEMENT_TYPES,
    INT1,
    INT64,
    POINTER,
    VECTOR_ELEMENTS,
)
from graphmerge.ops.blocks import BLOCK_ELEMENTS, SUM_LANES
from graphmerge.schedule.fusion import CHUNK_ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.native.registry import Arguments, Value
    from graphmerge.schedule.fusion import FusedLayout
    from graphmerge.schedule.program import Program
    from graphmerge.spec import DType

_RANKED = range(5)
_VALUES, *_, _WORDS = _RANKED
"""Where in `partials` is what a function that ranks is given."""
_VOID = ir.VoidType()


def emit_region(
    program: Program,
    layout: FusedLayout,
    given: Sequence[Arguments],
    *,
    looks: bool,
    ranks: bool = False,
) -> ir.Module:
    """The module with the function of a program, whose instructions take arguments like these.

    It `looks` for NaN and infinity in loads, or not; in the output in any case. It `ranks` the
    output's rows, or not.
    """
    module = ir.Module("region")
    copy = _intrinsic(module, "llvm.memcpy.p0.p0.i64", [POINTER, POINTER, INT64, INT1])
    chunk = ChunkEmitter(module, program, layout, given, copy).emit(looks=looks)
    rank = emit_ranking(module) if ranks else None
    _RegionEmitter(module, program, layout, chunk, copy, rank).emit()
    return module


class _RegionEmitter:
    """Emits the outer function, which cuts a tile into chunks."""

    def __init__(
        self,
        module: ir.Module,
        program: Program,
        layout: FusedLayout,
        chunk: ir.Function,
        copy: ir.Function,
        rank: ir.Function | None,
    ) -> None:
        self._program = program
        self._layout = layout
        self._chunk = chunk
        self._rank = rank
        self._scratch = Scratch.of(program, layout)
        function_type = ir.FunctionType(INT64, [POINTER] * 8 + [INT64] * 3)
        function = ir.Function(module, function_type, "region")
        self._inputs, self._files, self._outputs, self._partials = function.args[:4]
        self._numbers, self._words, self._memory, self._flags = function.args[4:8]
        self._start, self._count, self._tensors = function.args[8:]
        self._builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._fold = _emit_fold(module)
        self._read = emit_read(module)
        self._copy = copy

    @property
    def _loads(self) -> list[DType]:
        return [load.spec.dtype for load in self._program.loads]

    def emit(self) -> None:
        """Emit the function."""
        builder = self._builder
        with loop(builder, self._tensors) as tensor:
            self._tensor(builder.mul(tensor, self._count))
        builder.ret(integer(0))

    def _tensor(self, before: Value) -> None:
        """One tensor, or a tile of one, with so many elements before it."""
        builder = self._builder
        loads = [
            self._element(
                load_element(builder, self._inputs, integer(number), POINTER), dtype, before
            )
            for number, dtype in enumerate(self._loads)
        ]
        self._output = self._outputs
        if self._rank is not None:
            self._output = self._given(_VALUES)
        elif self._layout.result >= 0:
            self._output = self._element(self._outputs, self._output_dtype, before)
        self._clear(self._scratch.memory, self._scratch.memory_bytes)
        at_once = integer(BLOCK_ELEMENTS)
        if self._rank is not None:
            at_once = load_element(builder, self._given(_WORDS), integer(BLOCK), INT64)
        with loop(builder, self._count, at_once) as block:
            self._clear(self._scratch.lanes, self._scratch.lanes_bytes)
            left = builder.sub(self._count, block)
            in_block = least(builder, left, at_once)
            sources = [
                self._source(number, pointer, block, in_block)
                for number, pointer in enumerate(loads)
            ]
            whole = builder.and_(in_block, integer(-CHUNK_ELEMENTS))
            with loop(builder, whole, CHUNK_ELEMENTS) as offset:
                pointers = self._within(sources, offset)
                output = self._output_at(block, offset)
                first = builder.add(block, offset)
                self._call(pointers, output, first, integer(CHUNK_ELEMENTS))
            rest = builder.sub(in_block, whole)
            with builder.if_then(builder.icmp_unsigned("!=", rest, integer(0)), likely=False):
                self._staged(self._within(sources, whole), block, whole, rest)
            if self._rank is not None:
                self._rank_block(self._rank, block, in_block)
            self._store_sums(builder.udiv(block, integer(BLOCK_ELEMENTS)))

    def _rank_block(self, rank: ir.Function, block: Value, count: Value) -> None:
        """Make the mask of a block from its values, and put it where it goes."""
        builder = self._builder
        values, mask, memory, numbers, words = map(self._given, _RANKED)
        rows = builder.udiv(count, load_element(builder, words, integer(ROW), INT64))
        start = builder.add(self._start, block)
        builder.call(rank, [values, mask, memory, numbers, words, rows, start])
        builder.call(self._copy, [at(builder, self._outputs, block), mask, count, INT1(0)])

    def _given(self, number: int) -> Value:
        """One of the addresses in `partials`."""
        return load_element(self._builder, self._partials, integer(number), POINTER)

    def _source(self, number: int, pointer: Value, block: Value, count: Value) -> Value:
        """Where a block of a load is, once it has been read if it was not in memory yet."""
        builder, size = self._builder, integer(self._loads[number].bits // 8)
        before, size_bytes = (builder.mul(elements, size) for elements in (block, count))
        return block_of(builder, self._read, self._files, number, pointer, before, size_bytes)

    def _within(self, sources: list[Value], index: Value) -> list[Value]:
        """Where an element of a block is in every load."""
        pairs = zip(sources, self._loads, strict=True)
        return [self._element(source, dtype, index) for source, dtype in pairs]

    def _staged(self, sources: list[Value], block: Value, offset: Value, count: Value) -> None:
        """The last chunk, copied to where a whole chunk may be read and written."""
        builder = self._builder
        staging = self._scratch.staging
        places = [self._at(offset) for offset in staging]
        for source, place, dtype in zip(sources, places, self._loads, strict=False):
            size = dtype.bits // 8
            self._fill(place, size * CHUNK_ELEMENTS)
            bytes_held = builder.mul(count, integer(size))
            builder.call(self._copy, [place, source, bytes_held, INT1(0)])
        self._call(places[:-1], places[-1], builder.add(block, offset), count)
        if self._layout.result >= 0:
            size = self._output_dtype.bits // 8
            held = builder.mul(count, integer(size))
            output = self._output_at(block, offset)
            builder.call(self._copy, [output, places[-1], held, INT1(0)])

    @property
    def _output_dtype(self) -> DType:
        return self._program.instructions[self._layout.result].node.spec.dtype

    def _output_at(self, block: Value, offset: Value) -> Value:
        if self._layout.result < 0:
            return self._output
        index = self._builder.add(block, offset) if self._rank is None else offset
        return self._element(self._output, self._output_dtype, index)

    def _element(self, pointer: Value, dtype: DType, index: Value) -> Value:
        return at(self._builder, pointer, index, ELEMENT_TYPES[dtype])

    def _at(self, offset: int) -> Value:
        return at(self._builder, self._memory, integer(offset))

    def _call(self, inputs: list[Value], output: Value, first: Value, count: Value) -> None:
        flat = self._builder.add(self._start, first)
        shared = [self._partials, self._numbers, self._words, self._memory, self._flags]
        self._builder.call(self._chunk, [*inputs, output, *shared, flat, count, first])

    def _clear(self, offset: int, size_bytes: int) -> None:
        if size_bytes:
            self._fill(self._at(offset), size_bytes)

    def _fill(self, place: Value, size_bytes: int) -> None:
        clear(self._builder, place, integer(size_bytes))

    def _store_sums(self, block: Value) -> None:
        """Fold the lanes of a block and store its sums."""
        builder, number = self._builder, 0
        for step in self._layout.steps:
            columns = step.needs.sum_columns
            if columns:
                partial = load_element(builder, self._partials, integer(number), POINTER)
                for column in range(columns):
                    lanes = self._at(self._scratch.lanes_of[step.number] + 8 * SUM_LANES * column)
                    index = builder.add(builder.mul(block, integer(columns)), integer(column))
                    total = builder.call(self._fold, [lanes])
                    builder.store(total, at(builder, partial, index, DOUBLE))
            number += step.needs.has_partial


def _emit_fold(module: ir.Module) -> ir.Function:
    """double fold(lanes): the upper half added to the lower half until one lane is left."""
    function = ir.Function(module, ir.FunctionType(DOUBLE, [POINTER]), "fold")
    function.linkage = "internal"
    function.attributes.add("noinline")  # else compiling hundreds of copies takes seconds
    (lanes,) = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    half = SUM_LANES // 2
    while half >= 1:
        width = min(half, VECTOR_ELEMENTS)
        kind = ir.VectorType(DOUBLE, width)
        with loop(builder, integer(half), width) as index:
            low = at(builder, lanes, index, DOUBLE)
            high = at(builder, lanes, builder.add(index, integer(half)), DOUBLE)
            values = [builder.load(place, align=8, typ=kind) for place in (low, high)]
            builder.store(builder.fadd(*values), low, align=8)
        half //= 2
    builder.ret(builder.load(lanes, typ=DOUBLE))
    return function


def _intrinsic(module: ir.Module, name: str, arguments: list[ir.Type]) -> ir.Function:
    return ir.Function(module, ir.FunctionType(_VOID, arguments), name)
