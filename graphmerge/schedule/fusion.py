"""Lay out a program as a native function: loops over chunks, and what is handed between them.

An op that has to see a whole chunk before its result can be used (where do the ties end?) splits
the loop: what it reads is put into a buffer by one loop and its result is used in the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion
from graphmerge.ops.blocks import BLOCK_ELEMENTS, SUM_LANES
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from graphmerge.schedule.program import Instruction, Program
    from graphmerge.spec import TensorSpec

CHUNK_ELEMENTS = 1024
"""Elements of a chunk: enough that calling is cheap, few enough that buffers stay in cache."""
ALIGNMENT = 64
"""Registers, buffers and results begin at multiples of this many bytes."""
SPREAD_BYTES = 8 * (CHUNK_ELEMENTS + 16)
"""An array of a number per element of a chunk, of 64 bits, and room for a vector beyond it."""
_WIDEST_BYTES = 8
_MOST = 64
"""Loads, or instructions, that a native function can tell about one by one."""
_FUSED_DTYPES = frozenset(
    {
        *(DType.BOOL, DType.U8, DType.I8, DType.I16, DType.U16, DType.I32, DType.U32),
        *(DType.I64, DType.U64, DType.F16, DType.BF16, DType.F32, DType.F64),
    }
)


@frozen(eq=False)
class Step:
    """One instruction in a native function."""

    number: int
    """Which instruction of the program."""
    inputs: tuple[int, ...]
    """Values that it reads: numbers of instructions, or -1 for the first load, -2, ..."""
    needs: Fusion
    """What it needs."""


@frozen(eq=False)
class FusedLayout:
    """How a program becomes one native function."""

    signature: Hashable
    """What decides the code: programs that share it share the function."""
    steps: tuple[Step, ...]
    """Every instruction, in order."""
    loop_of: tuple[int, ...]
    """The loop in which each instruction's result is computed, 0 for the first."""
    buffered: tuple[int, ...]
    """Values that are put into a buffer, for chunk code or for a later loop."""
    result: int
    """Value that is the output, if there is one: never a load."""
    scratch_bytes: int
    """Buffers, masks, lanes and staging that a call is handed."""

    def partial_bytes(self, tile_elements: int) -> int:
        """Bytes of the partial results of a tile."""
        return sum(size for _, _, size in self.partials(tile_elements))

    def partials(self, tile_elements: int) -> Iterator[tuple[Step, tuple[int, ...], int]]:
        """Instructions with a partial result, its shape, and its bytes with room up to the next.

        Histograms are of 32-bit integers, sums of float64, a row for each numerics block.
        """
        blocks = -(-tile_elements // BLOCK_ELEMENTS)
        for step in self.steps:
            needs = step.needs
            columns = needs.sum_columns or needs.block_sums
            shape = (needs.histogram_bins,) if needs.histogram_bins else (blocks, columns)
            size = 4 * needs.histogram_bins or 8 * blocks * columns
            if size:
                yield step, shape, -(-size // ALIGNMENT) * ALIGNMENT


def fused_layout(program: Program) -> FusedLayout | None:
    """The layout of a program; None if it computes nothing or has an op without native code."""
    specs = [_input_specs(instruction) for instruction in program.instructions]
    needs = [
        item.node.op.fusion(spec) for item, spec in zip(program.instructions, specs, strict=True)
    ]
    if not needs or not _fits_vectors(program):
        return None
    if any(need is None or need.whole_rows for need in needs):
        return None
    if program.result is not None and program.result < 0:
        return None
    steps = _steps(program, [need for need in needs if need is not None])
    loops = _loops(steps)
    buffered = _buffered(steps, loops)
    result = _producers(program)[program.result] if program.result is not None else -1
    return FusedLayout(
        signature=_signature(program, steps),
        steps=steps,
        loop_of=loops,
        buffered=buffered,
        result=result,
        scratch_bytes=_scratch_bytes(steps, buffered, len(program.loads)),
    )


def _input_specs(instruction: Instruction) -> tuple[TensorSpec, ...]:
    return tuple(value.spec for value in instruction.node.inputs)


def _fits_vectors(program: Program) -> bool:
    if len(program.loads) > _MOST or len(program.instructions) > _MOST:
        return False
    nodes = (*program.loads, *(item.node for item in program.instructions))
    tensors = (node for node in nodes if node.op.access is not Access.REDUCE)
    return all(node.spec.dtype in _FUSED_DTYPES for node in tensors)


def _producers(program: Program) -> dict[int, int]:
    """The instruction whose result each register holds at the end."""
    return {
        item.output: number
        for number, item in enumerate(program.instructions)
        if item.output is not None
    }


def _steps(program: Program, needs: list[Fusion]) -> tuple[Step, ...]:
    """Instructions by the values that they read, instead of by registers."""
    held: dict[int, int] = {}
    steps: list[Step] = []
    for number, (item, need) in enumerate(zip(program.instructions, needs, strict=True)):
        inputs = tuple(place if place < 0 else held[place] for place in item.inputs)
        steps.append(Step(number, inputs, need))
        if item.output is not None:
            held[item.output] = number
    return tuple(steps)


def _loops(steps: tuple[Step, ...]) -> tuple[int, ...]:
    loops: list[int] = []
    for step in steps:
        ready = max((loops[value] for value in step.inputs if value >= 0), default=0)
        loops.append(ready + 1 if step.needs.reads_chunk else ready)
    return tuple(loops)


def _buffered(steps: tuple[Step, ...], loops: tuple[int, ...]) -> tuple[int, ...]:
    """Values read by chunk code, and results used in a later loop; loads are loaded again."""
    found: dict[int, None] = {}
    for step in steps:
        for value in step.inputs:
            later = value >= 0 and loops[value] < loops[step.number]
            if step.needs.reads_chunk or later:
                found[value] = None
    return tuple(found)


def _scratch_bytes(steps: tuple[Step, ...], buffered: tuple[int, ...], loads: int) -> int:
    """A chunk of the widest dtype for every buffer, load and output; lanes; masks and memory."""
    chunks = len(buffered) + loads + 1
    masks = sum(step.needs.mask for step in steps)
    lanes = SUM_LANES * sum(step.needs.sum_columns for step in steps)
    spread = SPREAD_BYTES * sum(step.needs.spread_numbers for step in steps)
    return CHUNK_ELEMENTS * (_WIDEST_BYTES * chunks + masks) + spread + 8 * lanes + 64 * len(steps)


def _signature(program: Program, steps: tuple[Step, ...]) -> Hashable:
    instructions = tuple(
        (
            item.node.op.structure(),
            step.inputs,
            tuple(value.spec.dtype for value in item.node.inputs),
            item.node.spec.dtype,
        )
        for item, step in zip(program.instructions, steps, strict=True)
    )
    return (
        instructions,
        tuple(load.spec.dtype for load in program.loads),
        program.result,
    )
