"""Emit the function that does one chunk: chunk code, then a loop over vectors, in turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.chunk_code import ChunkCode
from graphmerge.native.loop_body import LoopBody
from graphmerge.native.loops import at, integer, load_element, loop, variable
from graphmerge.native.memory import Scratch
from graphmerge.native.registry import lowering
from graphmerge.native.types import (
    DOUBLE,
    ELEMENT_TYPES,
    FLOAT,
    INT64,
    POINTER,
    VECTOR_ELEMENTS,
    spread,
)
from graphmerge.native.vector_code import VectorCode
from graphmerge.ops.blocks import SUM_LANES
from graphmerge.schedule.fusion import CHUNK_ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.graph import Node
    from graphmerge.native.registry import Arguments, Value
    from graphmerge.schedule.fusion import FusedLayout, Step
    from graphmerge.schedule.program import Program
    from graphmerge.spec import DType

_FLAG_SEEN, _FLAG_FAILED, _FLAG_OUTPUT = 0, 1, 2


class ChunkEmitter:
    """Emits `chunk`, with an argument for every load."""

    def __init__(
        self,
        module: ir.Module,
        program: Program,
        layout: FusedLayout,
        given: Sequence[Arguments],
        copy: ir.Function,
    ) -> None:
        self._program = program
        self._layout = layout
        self._given = given
        self._scratch = Scratch.of(program, layout)
        arguments = [POINTER] * (len(program.loads) + 6) + [INT64] * 3
        self._function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "chunk")
        self._function.linkage = "internal"
        self._function.attributes.add("noinline")
        *inputs, self._output, self._partials, numbers, words, self._memory, self._flags = (
            self._function.args[:-3]
        )
        self._start, self._count, self._offset = self._function.args[-3:]
        self._copy = copy
        self._builder = ir.IRBuilder(self._function.append_basic_block("entry"))
        self._places = {-1 - number: pointer for number, pointer in enumerate(inputs)} | {
            value: self._at(self._scratch.buffer_of[value])
            for value in layout.buffered
            if value >= 0
        }
        self._numbers, self._words = self._arguments(numbers, words)
        self._chunk_values = {
            step.number: variable(self._builder, integer(0))
            for step in layout.steps
            if step.needs.chunk_value
        }

    def emit(self, *, looks: bool) -> ir.Function:
        """Emit the function, which `looks` for NaN and infinity in loads or not."""
        unchecked = set(self._places) if looks else set()
        for number in range(max(self._layout.loop_of) + 1):
            steps = [
                step for step in self._layout.steps if self._layout.loop_of[step.number] == number
            ]
            for step in steps:
                self._chunk_code(step)
            stored = self._stored_by(number)
            if stored or any(lowering(self._node(step).op).vector for step in steps):
                self._vector_loop(steps, stored, unchecked)
        self._builder.ret_void()
        return self._function

    def _stored_by(self, number: int) -> dict[int, Value]:
        """Values that a loop puts somewhere, and where; loads are put into buffers by the first."""
        loop_of = self._layout.loop_of
        return {
            value: self._at(self._scratch.buffer_of[value])
            for value in self._layout.buffered
            if (loop_of[value] if value >= 0 else 0) == number
        }

    def _node(self, step: Step) -> Node:
        return self._program.instructions[step.number].node

    def _input_dtypes(self, step: Step) -> list[DType]:
        return [value.spec.dtype for value in self._node(step).inputs]

    def _arguments(
        self, numbers: Value, words: Value
    ) -> tuple[list[list[Value]], list[list[Value]]]:
        """Numbers and integers of every instruction, loaded once per chunk."""
        number_of: list[list[Value]] = []
        word_of: list[list[Value]] = []
        at_number = at_word = 0
        for step, given in zip(self._layout.steps, self._given, strict=True):
            element = ELEMENT_TYPES[self._input_dtypes(step)[0]]
            ends = at_number + len(given.numbers), at_word + len(given.words)
            number_of.append([self._number(numbers, i, element) for i in range(at_number, ends[0])])
            word_of.append(
                [
                    load_element(self._builder, words, integer(i), INT64)
                    for i in range(at_word, ends[1])
                ]
            )
            at_number, at_word = ends
        return number_of, word_of

    def _number(self, numbers: Value, index: int, element: ir.Type) -> Value:
        value = load_element(self._builder, numbers, integer(index), DOUBLE)
        narrow = self._builder.fptrunc(value, FLOAT) if element == FLOAT else value
        return spread(self._builder, narrow)

    def _chunk_code(self, step: Step) -> None:
        op = self._node(step).op
        emit = lowering(op).chunk
        if emit is None:
            return
        reads = step.inputs if step.needs.reads_chunk else ()
        code = ChunkCode(
            builder=self._builder,
            buffers=[self._at(self._scratch.buffer_of[value]) for value in reads],
            dtypes=self._input_dtypes(step),
            words=self._words[step.number],
            start=self._start,
            count=self._count,
            offset=self._offset,
            histogram=self._partial(step) if step.needs.histogram_bins else None,
            sums=self._partial(step) if step.needs.block_sums else None,
            spread=self._spread(step),
            copy=self._copy,
            mask_bytes=self._mask(step),
            chunk_value=self._chunk_values.get(step.number),
            memory=self._at(self._scratch.memory_of[step.number]),
        )
        emit(op, code)

    def _spread(self, step: Step) -> list[Value]:
        return [self._at(offset) for offset in self._scratch.spread_of[step.number]]

    def _partial(self, step: Step) -> Value:
        before = self._layout.steps[: step.number]
        place = sum(one.needs.has_partial for one in before)
        return load_element(self._builder, self._partials, integer(place), POINTER)

    def _mask(self, step: Step) -> Value | None:
        return self._at(self._scratch.mask_of[step.number]) if step.needs.mask else None

    def _vector_loop(
        self, steps: list[Step], stored: dict[int, Value], unchecked: set[int]
    ) -> None:
        """One pass over the vectors of the chunk; the last chunk is padded to a whole one."""
        body = LoopBody(self._builder, self._dtypes(), self._places, self._count, unchecked)
        values = {
            number: self._builder.load(place, typ=INT64)
            for number, place in self._chunk_values.items()
        }
        with loop(self._builder, integer(CHUNK_ELEMENTS), VECTOR_ELEMENTS) as index:
            body.begin(index)
            for step in steps:
                self._vector_code(step, body, values.get(step.number))
            for value, place in stored.items():
                body.store(value, place)
            if any(step.number == self._layout.result for step in steps):
                body.store(self._layout.result, self._output)
                body.look_for_nan(self._layout.result)
        for value, seen in body.checks():
            if value < 0:
                self._flag(_FLAG_SEEN, seen, 1 << (-1 - value))
            else:
                self._flag(_FLAG_OUTPUT, seen, 1)
        for number, failed in body.failures():
            self._flag(_FLAG_FAILED, failed, 1 << number)
        for number, column, count in body.counts():
            self._add_count(self._scratch.lanes_of[number] + 8 * SUM_LANES * column, count)

    def _dtypes(self) -> dict[int, DType]:
        loads = {-1 - i: load.spec.dtype for i, load in enumerate(self._program.loads)}
        return loads | {step.number: self._node(step).spec.dtype for step in self._layout.steps}

    def _vector_code(self, step: Step, body: LoopBody, chunk_value: Value | None) -> None:
        op = self._node(step).op
        emit = lowering(op).vector
        if emit is None:
            return
        lanes = self._scratch.lanes_of.get(step.number)
        code = VectorCode(
            builder=self._builder,
            inputs=[body.value(value) for value in step.inputs],
            dtypes=self._input_dtypes(step),
            index=body.index,
            inside=body.inside,
            numbers=self._numbers[step.number],
            words=self._words[step.number],
            lanes=self._at(lanes) if lanes is not None else None,
            mask_bytes=self._mask(step),
            chunk_value=chunk_value,
            memory=self._at(self._scratch.memory_of[step.number]),
            spread=self._spread(step),
            add_count=lambda column, which: body.count(step.number, column, which),
            fail=lambda condition: body.fail(step.number, condition),
        )
        result = emit(op, code)
        if result is not None:
            body.set(step.number, result)

    def _add_count(self, offset: int, count: Value) -> None:
        """Add what was counted in a chunk to the first lane of a sum: exactly, as any order is."""
        place = self._at(offset)
        held = self._builder.load(place, typ=DOUBLE)
        more = self._builder.uitofp(count, DOUBLE)
        self._builder.store(self._builder.fadd(held, more), place)

    def _flag(self, index: int, condition: Value, bits: int) -> None:
        """Set bits of a flag where a truth value is set."""
        builder = self._builder
        with builder.if_then(condition, likely=False):
            place = at(builder, self._flags, integer(index), INT64)
            builder.store(builder.or_(builder.load(place, typ=INT64), integer(bits)), place)

    def _at(self, offset: int) -> Value:
        return at(self._builder, self._memory, integer(offset))
