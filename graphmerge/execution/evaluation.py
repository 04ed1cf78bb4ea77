"""Evaluate the program of a pass on one tile, by torch kernels.

Imported only where something is computed: a merge that only copies bytes starts without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch

from graphmerge.errors import MachineError, Problem
from graphmerge.kernels import Partial, ReducedTile, Tile, kernel, reduction
from graphmerge.kernels.dtypes import TORCH_DTYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from graphmerge.execution.buffers import Arena
    from graphmerge.execution.reading import Bytes
    from graphmerge.execution.running import TileTask
    from graphmerge.graph import Node
    from graphmerge.schedule.program import Instruction, Program

Registers: TypeAlias = "list[torch.Tensor]"


def prepare(device: str) -> None:
    """One torch thread per worker, and a device that is there.

    Raises:
        MachineError: the device is missing.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise MachineError(Problem("no CUDA device here", "--device", device, "cpu"))
    torch.set_num_threads(1)


def make_registers(program: Program, elements: int, device: str, arena: Arena) -> Registers:
    """The registers of a program for tiles of this length: on the CPU in the worker's arena."""
    if device != "cpu":
        dtypes = (TORCH_DTYPES[dtype] for dtype in program.registers)
        return [torch.empty(elements, dtype=dtype, device=device) for dtype in dtypes]
    return [
        torch.from_numpy(arena.take(elements * dtype.bits // 8)).view(TORCH_DTYPES[dtype])
        for dtype in program.registers
    ]


def evaluate(
    task: TileTask, registers: Registers, stored: Mapping[Node, Bytes]
) -> tuple[dict[Node, Partial], Bytes | None]:
    """Run every instruction on one tile.

    Args:
        task: The tile.
        registers: From `make_registers`, for this program and length.
        stored: Bytes of every load.

    Returns:
        The partial result of every reduction, and the bytes of the output's tile if one is made.

    Raises:
        CheckpointError: inputs that must be identical differ.
    """
    program = task.part.program
    device = torch.device(task.part.device)
    loads = [_as_tensor(stored[load], load, device) for load in program.loads]
    partials: dict[Node, Partial] = {}
    with torch.inference_mode():
        for instruction in program.instructions:
            _execute(instruction, registers, loads, task, partials)
        if program.result is None or program.result < 0:
            return partials, None
        output: Bytes = registers[program.result].cpu().view(torch.uint8).numpy()
    return partials, output


def _execute(
    instruction: Instruction,
    registers: Registers,
    loads: Sequence[torch.Tensor],
    task: TileTask,
    partials: dict[Node, Partial],
) -> None:
    node = instruction.node
    inputs = [registers[place] if place >= 0 else loads[-1 - place] for place in instruction.inputs]
    statistics = [task.statistics[value] for value in instruction.statistics]
    scratch = [registers[place] for place in instruction.scratch]
    if instruction.output is None:
        tile = ReducedTile(inputs, statistics, scratch)
        partials[node] = reduction(node.op).update(node.op, tile)
        return
    output = registers[instruction.output]
    kernel(node.op)(node.op, Tile(inputs, statistics, output, scratch, task.start))


def _as_tensor(stored: Bytes, load: Node, device: torch.device) -> torch.Tensor:
    """The stored bytes as a tensor on the device; plain bytes for dtypes that are only copied."""
    dtype = TORCH_DTYPES.get(load.spec.dtype, torch.uint8)
    return torch.from_numpy(stored).view(dtype).to(device)
