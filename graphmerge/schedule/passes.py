"""A pass: one streaming of tiles through a fused region, and which passes make a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Node
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.program import Program, compile_program, is_read
from graphmerge.schedule.tiling import MOST_READ_ELEMENTS, reads_itself, tile_step

if TYPE_CHECKING:
    from collections.abc import Iterator


@frozen(eq=False)
class Pass:
    """One streaming of tiles."""

    program: Program
    """What is done with a tile."""
    reductions: tuple[Node, ...]
    """Statistics that the pass makes."""
    result: Node | None
    """The output tensor that the pass makes, if it is the unit's last."""
    numel: int
    """Elements that are streamed."""
    prologue: tuple[Node, ...]
    """Small statistics that are made before the first tile, inputs before users."""
    device: str
    """Where the kernels run: `cpu`, `cuda` or `cuda:N`."""
    tile_step: int
    """What its tiles are a multiple of, in elements."""
    folded: tuple[Node, ...] = ()
    """The reductions that the unit's statistic over many tensors takes in, and nothing else."""
    kind: object = field(factory=object)
    """What passes share that do the same on other nodes."""
    is_stored: bool = False
    """Whether the result goes to memory for others, tile by tile."""

    def tile_elements(self, wanted: int) -> int:
        """Elements of a tile: as many as wanted, or what the ops of the pass must have at once."""
        is_any = self._reads_itself or self.reads_in_place
        most = wanted if is_any else min(wanted, MOST_READ_ELEMENTS)
        return max(self.tile_step, most // self.tile_step * self.tile_step)

    @property
    def _reads_itself(self) -> bool:
        """Whether native code reads a tile's inputs; torch has tiles of its own size."""
        if self.executor is not Executor.NATIVE:
            return self.executor is Executor.TORCH
        unread = (load for load in self.program.loads if is_read(load))
        return all(reads_itself(self.program, load) for load in unread)

    @property
    def reads_in_place(self) -> bool:
        """Whether what is read goes at once to where others find it."""
        return self.is_stored and self.executor is Executor.COPY

    @property
    def executor(self) -> Executor:
        """What runs the program."""
        if not self.program.instructions:
            return Executor.COPY
        return Executor.TORCH if self.program.layout is None else Executor.NATIVE


def passes_of(
    statistics: list[Node], result: Node | None, given: set[Node], device: str
) -> Iterator[Pass]:
    """Passes in order of stage; reductions of one stage and length share a pass.

    Args:
        statistics: What is to be made, inputs before users.
        result: The tensor that the last pass makes, if there is one.
        given: Statistics and tensors that are made already.
        device: Where kernels run.
    """
    ready = dict.fromkeys(given, 0)
    groups: dict[tuple[int, int], list[Node]] = {}
    small: list[tuple[int, Node]] = []
    for node in statistics:
        stage = _stage(node, ready)
        if node.op.access is Access.SMALL:
            ready[node] = stage
            small.append((stage, node))
        else:
            ready[node] = stage + 1
            groups.setdefault((stage, node.inputs[0].spec.numel), []).append(node)
    final = (_stage(result, ready), result.spec.numel) if result is not None else None
    if final is not None:
        groups.setdefault(final, [])
    for key, reductions in sorted(groups.items(), key=lambda item: item[0]):
        made = result if key == final else None
        prologue = tuple(node for stage, node in small if stage <= key[0])
        small = [(stage, node) for stage, node in small if stage > key[0]]
        program = compile_program(reductions, made, given)
        step = tile_step(program, key[1])
        yield Pass(program, tuple(reductions), made, key[1], prologue, device, step)
    if small:
        empty = compile_program((), None)
        yield Pass(empty, (), None, 0, tuple(node for _, node in small), device, tile_step=1)


def _stage(node: Node, ready: dict[Node, int]) -> int:
    """The first pass in which the node can be evaluated: after every statistic below it is made."""
    stage, stack, done = 0, [node], set()
    while stack:
        current = stack.pop()
        for value in current.inputs:
            if value in ready:
                stage = max(stage, ready[value])
            elif value not in done:
                done.add(value)
                stack.append(value)
    return stage
