"""Run the program of a pass on tiles by torch kernels, one op after the other.

Imported only where torch is needed: copies and native code start without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from graphmerge.errors import MachineError, Problem
from graphmerge.execution.finite import is_finite, not_finite
from graphmerge.execution.tiles import TileOutcome
from graphmerge.kernels import ReducedTile, Tile, kernel, update
from graphmerge.kernels.dtypes import TORCH_DTYPES
from graphmerge.schedule.tiling import tile_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from graphmerge.execution.buffers import Arena
    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.tiles import TileTask
    from graphmerge.graph import Node
    from graphmerge.native import FilePlace
    from graphmerge.schedule.program import Instruction, Program
    from graphmerge.spec import DType
    from graphmerge.statistics import Partial


def prepare(device: str) -> None:
    """One torch thread per worker, and a device that is there.

    Raises:
        MachineError: the device is missing.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise MachineError(Problem("no CUDA device here", "--device", device, "cpu"))
    torch.set_num_threads(1)


class TorchTiles:
    """The registers of one program for tiles of one length."""

    def __init__(self, task: TileTask, elements: int, arena: Arena) -> None:
        self._program = task.part.program
        self._device = torch.device(task.part.device)
        self._registers = _registers(self._program, elements, task.part.device, arena)

    def bind(self, task: TileTask) -> None:
        """Take a program of the same structure, whose registers are the same."""
        self._program = task.part.program

    def run(
        self, task: TileTask, stored: Mapping[Node, Bytes], files: Mapping[Node, FilePlace]
    ) -> TileOutcome:
        """Run every instruction on one tile, all of which is in memory: `files` has nothing."""
        program = self._program
        bad = not_finite(task, stored)
        loads = [_as_tensor(stored[load], load, self._device) for load in program.loads]
        partials: dict[Node, Partial] = {}
        with torch.inference_mode():
            for instruction in program.instructions:
                self._execute(instruction, loads, task, partials)
            if program.result is None:
                return TileOutcome(partials, None, bad)
            if program.result < 0:
                return TileOutcome(partials, stored[program.loads[-1 - program.result]], bad)
            output: Bytes = self._registers[program.result].cpu().view(torch.uint8).numpy()
        return TileOutcome(partials, output, bad, is_finite(output, _result_dtype(program)))

    def _execute(
        self,
        instruction: Instruction,
        loads: Sequence[torch.Tensor],
        task: TileTask,
        partials: dict[Node, Partial],
    ) -> None:
        node, registers = instruction.node, self._registers
        inputs = [
            registers[place] if place >= 0 else loads[-1 - place] for place in instruction.inputs
        ]
        statistics = [task.statistics[value] for value in instruction.statistics]
        scratch = [registers[place] for place in instruction.scratch]
        if instruction.output is None:
            shape = tile_shape(node, task.stop - task.start)
            tile = ReducedTile(inputs, statistics, scratch, task.start, shape)
            partials[node] = update(node.op)(node.op, tile)
            return
        output = registers[instruction.output]
        shape = tile_shape(node, task.stop - task.start)
        kernel(node.op)(node.op, Tile(inputs, statistics, output, scratch, task.start, shape))


def _result_dtype(program: Program) -> DType:
    assert program.result is not None, "a pass that only reduces has no output"
    return program.registers[program.result]


def _registers(program: Program, elements: int, device: str, arena: Arena) -> list[torch.Tensor]:
    """Registers for tiles of this length: on the CPU in the worker's arena."""
    if device != "cpu":
        dtypes = (TORCH_DTYPES[dtype] for dtype in program.registers)
        return [torch.empty(elements, dtype=dtype, device=device) for dtype in dtypes]
    return [
        torch.from_numpy(arena.take(elements * dtype.bits // 8)).view(TORCH_DTYPES[dtype])
        for dtype in program.registers
    ]


def _as_tensor(stored: Bytes, load: Node, device: torch.device) -> torch.Tensor:
    """The stored bytes as a tensor on the device; plain bytes for dtypes that are only copied."""
    dtype = TORCH_DTYPES.get(load.spec.dtype, torch.uint8)
    return torch.from_numpy(stored).view(dtype).to(device)
