"""Read the fields of a Protocol Buffers message, of which only the wire format is known.

Source: protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Value: TypeAlias = "int | float | bytes"
"""A varint, a fixed32, or what has a length; a fixed64 is bytes, too: nothing here has one."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_VARINT_BITS = 64


class WireError(ValueError):
    """The bytes are no message."""


def read_varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """An unsigned number of seven bits a byte, the lowest first, and the place behind it.

    Raises:
        WireError: it does not end before `end`, or has more than 64 bits.
    """
    number = shift = 0
    while place < end and shift < _VARINT_BITS:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return number, place
        shift += 7
    raise WireError(f"a number at byte {place} does not end")


def read_fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, Value]]:
    """Number and value of every field of the message between two places, in their order.

    Raises:
        WireError: a field is cut off or of no known kind.
    """
    place = start
    while place < end:
        begin = place
        tag, place = read_varint(data, place, end)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise WireError(f"byte {begin} begins no field")
        if kind == _VARINT:
            value, place = read_varint(data, place, end)
            yield number, value
            continue
        if kind == _LENGTH:
            size, place = read_varint(data, place, end)
        else:
            size = {_FIXED32: 4, _FIXED64: 8}.get(kind, -1)
        if size < 0:
            raise WireError(f"a field at byte {begin} is of no known kind")
        if size > end - place:
            raise WireError(f"a field at byte {begin} needs {size} bytes, {end - place} are left")
        stored = data[place : place + size]
        yield number, struct.unpack("<f", stored)[0] if kind == _FIXED32 else stored
        place += size
