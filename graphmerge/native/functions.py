"""Native functions of programs: compiled when first asked for, once per process."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from llvmlite import binding

from graphmerge.native.region import emit_region
from graphmerge.native.registry import lowering
from graphmerge.ops.blocks import BLOCK_ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from graphmerge.graph import Node
    from graphmerge.native.registry import Arguments
    from graphmerge.schedule.fusion import FusedLayout
    from graphmerge.schedule.program import Program
    from graphmerge.statistics import Partial, Statistic

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_SIGNATURE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 7, *[ctypes.c_int64] * 2)
_lock = threading.Lock()
_functions: dict[Hashable, NativeFunction] = {}


@frozen(eq=False)
class Outcome:
    """What came out of a tile."""

    partials: dict[int, Partial]
    """Partial result of every reduction, by number of the instruction."""
    not_finite: tuple[int, ...]
    """Numbers of the loads in which NaN or infinity was seen."""
    failed: tuple[int, ...]
    """Numbers of the instructions whose check failed."""


class NativeFunction:
    """A compiled program; safe to call from many threads, and without the interpreter's lock."""

    def __init__(self, program: Program, layout: FusedLayout, given: Sequence[Arguments]) -> None:
        self._layout = layout
        self._engine = _compile(str(emit_region(program, layout, given)))
        self._call = _SIGNATURE(self._engine.get_function_address("region"))

    def __call__(
        self,
        given: Sequence[Arguments],
        inputs: Sequence[Bytes],
        output: Bytes | None,
        scratch: Bytes,
        start: int,
        count: int,
    ) -> Outcome:
        """Run the program on one tile.

        Args:
            given: Arguments of the instructions, from `arguments_of`.
            inputs: Stored bytes of every load, for this tile.
            output: Where the bytes of the output's tile go; None if the program only reduces.
            scratch: Memory of `layout.scratch_bytes`, aligned to 64 bytes; of this thread alone.
            start: Flat index of the tile's first element, a multiple of the numerics block.
            count: Elements of the tile.
        """
        partials = self._partials(count)
        numbers = np.array([x for one in given for x in one.numbers], dtype=np.float64)
        words = np.array([x for one in given for x in one.words], dtype=np.uint64)
        flags = np.zeros(2, dtype=np.uint64)
        pointers = np.array([_address(data) for data in inputs], dtype=np.uint64)
        places = np.array([_address(data) for data in partials.values()], dtype=np.uint64)
        self._call(
            _address(pointers),
            _address(output) if output is not None else None,
            *(_address(array) for array in (places, numbers, words, scratch, flags)),
            start,
            count,
        )
        return Outcome(partials, _set_bits(int(flags[0])), _set_bits(int(flags[1])))

    def _partials(self, count: int) -> dict[int, Partial]:
        blocks = -(-count // BLOCK_ELEMENTS)
        partials: dict[int, Partial] = {}
        for step in self._layout.steps:
            if step.needs.histogram_bins:
                partials[step.number] = np.zeros(step.needs.histogram_bins, dtype=np.uint32)
            elif step.needs.sum_columns:
                partials[step.number] = np.empty((blocks, step.needs.sum_columns))
        return partials


def arguments_of(program: Program, statistics: Mapping[Node, Statistic]) -> list[Arguments]:
    """What the instructions of a program are given, once the statistics that they read are made."""
    return [
        lowering(item.node.op).arguments(
            item.node.op, [statistics[value] for value in item.statistics]
        )
        for item in program.instructions
    ]


def function_for(program: Program, given: Sequence[Arguments]) -> NativeFunction:
    """The function of a program that has a fused layout; compiled if it is the first of its kind.

    Args:
        program: The program.
        given: Its arguments; the function is good for any others.
    """
    layout = program.fused
    assert layout is not None, "the plan runs only programs with a layout as native code"
    with _lock:
        if layout.signature not in _functions:
            _functions[layout.signature] = NativeFunction(program, layout, given)
        return _functions[layout.signature]


def _set_bits(word: int) -> tuple[int, ...]:
    return tuple(number for number in range(word.bit_length()) if word >> number & 1)


def _address(array: np.ndarray[Any, Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _compile(code: str) -> binding.ExecutionEngine:
    """Machine code for this machine, in memory."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=2
    )
    module = binding.parse_assembly(code)
    module.verify()
    options = binding.PipelineTuningOptions(speed_level=2)
    options.loop_vectorization = False  # the code is made of vectors already
    options.slp_vectorization = False
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine
