"""Emit the function that reads a piece of a file: native code reads its inputs itself.

So a tile is one call, however many files it is made from, and of what is read no more than a block
of each input is held at a time, in a core's own cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.loops import at, integer, load_element, variable
from graphmerge.native.types import INT1, INT32, INT64, POINTER

if TYPE_CHECKING:
    from graphmerge.native.registry import Value

FILE_COLUMNS = 3
"""Of each input: the descriptor of the file, below 0 for what is in memory; where in the file the
tile begins; and 1 if the input's memory has room for the whole tile, 0 for one block."""


def emit_read(module: ir.Module) -> ir.Function:
    """bool read(descriptor, place, size, position): whether so many bytes could be read."""
    pread_type = ir.FunctionType(INT64, [INT32, POINTER, INT64, INT64])
    pread = ir.Function(module, pread_type, "pread")
    function_type = ir.FunctionType(INT1, [INT64, POINTER, INT64, INT64])
    function = ir.Function(module, function_type, "read")
    function.linkage = "internal"
    function.attributes.add("noinline")
    descriptor, place, size, position = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    done = variable(builder, integer(0))
    head, body, failed, more, end = map(
        function.append_basic_block, ("head", "body", "failed", "more", "end")
    )
    builder.branch(head)
    builder.position_at_end(head)
    held = builder.load(done, typ=INT64)
    builder.cbranch(builder.icmp_unsigned("<", held, size), body, end)
    builder.position_at_end(body)
    count = builder.call(
        pread,
        [
            builder.trunc(descriptor, INT32),
            at(builder, place, held),
            builder.sub(size, held),
            builder.add(position, held),
        ],
    )
    builder.cbranch(builder.icmp_signed("<=", count, integer(0)), failed, more)
    builder.position_at_end(more)
    builder.store(builder.add(held, count), done)
    builder.branch(head)
    builder.position_at_end(failed)
    builder.ret(INT1(0))
    builder.position_at_end(end)
    builder.ret(INT1(1))
    return function


def block_of(
    builder: ir.IRBuilder,
    read: ir.Function,
    files: Value,
    number: int,
    pointer: Value,
    before: Value,
    size: Value,
) -> Value:
    """Where a block of a load is in memory, once it has been read if it was in a file.

    If it cannot be read the function that is emitted returns 1 and the load's number.

    Args:
        builder: Emits into a function that returns 64 bits.
        read: From `emit_read`.
        files: `FILE_COLUMNS` integers for each load.
        number: Which load.
        pointer: Its memory.
        before: Bytes of the tile before the block.
        size: Bytes of the block.
    """
    descriptor, position, moves = (
        load_element(builder, files, integer(FILE_COLUMNS * number + column), INT64)
        for column in range(FILE_COLUMNS)
    )
    place = at(builder, pointer, builder.mul(before, moves))
    is_in_file = builder.icmp_signed(">=", descriptor, integer(0))
    with builder.if_then(is_in_file):
        is_read = builder.call(read, [descriptor, place, size, builder.add(position, before)])
        with builder.if_then(builder.not_(is_read), likely=False):
            builder.ret(integer(1 + number))
    return place
