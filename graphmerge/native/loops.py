"""Loops, branches and memory of generated code."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from llvmlite import ir

from graphmerge.native.types import INT1, INT8, INT64, POINTER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.native.registry import Value


def integer(value: int) -> ir.Constant:
    """A constant of 64 bits."""
    return ir.Constant(INT64, value)


def at(builder: ir.IRBuilder, pointer: Value, index: Value, element: ir.Type = INT8) -> Value:
    """The address of an element of an array; of a byte by default."""
    return builder.gep(pointer, [index], source_etype=element)


def load_element(builder: ir.IRBuilder, pointer: Value, index: Value, element: ir.Type) -> Value:
    """An element of an array."""
    return builder.load(at(builder, pointer, index, element), typ=element)


def variable(builder: ir.IRBuilder, initial: Value) -> Value:
    """Memory in the function's frame with an initial value."""
    with builder.goto_entry_block():
        place = builder.alloca(initial.type)
    builder.store(initial, place)
    return place


@contextmanager
def loop(builder: ir.IRBuilder, count: Value, step: int | Value = 1) -> Iterator[Value]:
    """A loop over 0, step, 2 step, ... below a count of 64 bits; gives the index."""
    index = variable(builder, integer(0))
    head = builder.append_basic_block("head")
    body = builder.append_basic_block("body")
    end = builder.append_basic_block("end")
    builder.branch(head)
    builder.position_at_end(head)
    current = builder.load(index, typ=INT64)
    builder.cbranch(builder.icmp_unsigned("<", current, count), body, end)
    builder.position_at_end(body)
    yield current
    more = integer(step) if isinstance(step, int) else step
    builder.store(builder.add(current, more), index)
    builder.branch(head)
    builder.position_at_end(end)


def clear(builder: ir.IRBuilder, place: Value, size_bytes: Value) -> None:
    """Set memory to zero."""
    name = "llvm.memset.p0.i64"
    function_type = ir.FunctionType(ir.VoidType(), [POINTER, INT8, INT64, INT1])
    known = builder.module.globals.get(name)
    builder.call(
        known or ir.Function(builder.module, function_type, name),
        [place, INT8(0), size_bytes, INT1(0)],
    )


@contextmanager
def each_set_bit(builder: ir.IRBuilder, bits: Value) -> Iterator[Value]:
    """A loop over the set bits of an integer, lowest first; gives the number of the bit."""
    left = variable(builder, bits)
    head = builder.append_basic_block("head")
    body = builder.append_basic_block("body")
    end = builder.append_basic_block("end")
    builder.branch(head)
    builder.position_at_end(head)
    current = builder.load(left, typ=bits.type)
    builder.cbranch(builder.icmp_unsigned("==", current, bits.type(0)), end, body)
    builder.position_at_end(body)
    place = builder.cttz(current, INT1(1))
    yield (builder.zext if bits.type.width < INT64.width else builder.trunc)(place, INT64)
    builder.store(builder.and_(current, builder.sub(current, bits.type(1))), left)
    builder.branch(head)
    builder.position_at_end(end)


def least(builder: ir.IRBuilder, a: Value, b: Value) -> Value:
    """The smaller of two unsigned integers."""
    return builder.select(builder.icmp_unsigned("<", a, b), a, b)
