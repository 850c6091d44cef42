"""Protocol Buffers' wire format: varints, tags, scalars. Nothing here knows a message of Kong.

Written by hand because the messages of a request are many and small: what costs time is the work around each, not the
bytes. The format is that of https://protobuf.dev/programming-guides/encoding/. Decoding works on ``bytes`` with
positions, without copies of what is only looked through; every malformed input ends in ``FrameError``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT = 0
I64 = 1
LEN = 2
I32 = 5

_DOUBLE = struct.Struct("<d")
_SMALL = tuple(bytes((n,)) for n in range(128))
_LARGEST_FIELD = (1 << 29) - 1
_UNSIGNED_64 = (1 << 64) - 1


class FrameError(Exception):
    """Bytes that are no message of the protocol, or a frame over the limit: the connection can't be used further."""


def varint(number: int) -> bytes:
    """A number as a varint; negative ones take ten bytes, as int32 and int64 do."""
    if 0 <= number < 128:
        return _SMALL[number]
    number &= _UNSIGNED_64
    if number < 16384:
        return bytes((number & 127 | 128, number >> 7))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The unsigned 64-bit number at ``at`` and the position after it."""
    if at >= end:
        raise FrameError("a number is cut off")
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    number = byte & 127
    shift = 7
    while shift < 70:
        at += 1
        if at >= end:
            raise FrameError("a number is cut off")
        byte = data[at]
        number |= (byte & 127) << shift
        if byte < 128:
            return number & _UNSIGNED_64, at + 1
        shift += 7
    raise FrameError("a number has more than 64 bits")


def read_length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Start and end of the length-delimited content at ``at``."""
    if at < end and data[at] < 128:
        start, stop = at + 1, at + 1 + data[at]
    else:
        length, start = read_varint(data, at, end)
        stop = start + length
    if stop > end:
        raise FrameError("a field reaches over the end of its message")
    return start, stop


def skip(data: bytes, at: int, end: int, tag: int) -> int:
    """The position after the content of a field that nobody knows."""
    kind = tag & 7
    if tag >> 3 == 0 or tag >> 3 > _LARGEST_FIELD:
        raise FrameError(f"field number {tag >> 3} is impossible")
    if kind == VARINT:
        return read_varint(data, at, end)[1]
    if kind == LEN:
        return read_length(data, at, end)[1]
    if kind in (I64, I32):
        at += 8 if kind == I64 else 4
        if at > end:
            raise FrameError("a fixed-size field is cut off")
        return at
    raise FrameError(f"wire type {kind} is not used by this protocol")


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Every field of the message between ``at`` and ``end``: its tag, its number, and its content's start and end.

    The number is that of a varint field, else 0. For messages where a plain loop is quick enough.
    """
    while at < end:
        tag, at = read_varint(data, at, end)
        kind = tag & 7
        if kind == VARINT and tag >= 8:
            number, at = read_varint(data, at, end)
            yield tag, number, at, at
        elif kind == LEN and tag >= 8:
            start, at = read_length(data, at, end)
            yield tag, 0, start, at
        else:
            start = at
            at = skip(data, at, end, tag)
            yield tag, 0, start, at


def double(number: int | float) -> bytes:
    """Eight bytes, little-endian. Raises OverflowError for an integer beyond the range of a double."""
    try:
        return _DOUBLE.pack(number)
    except struct.error:
        raise OverflowError("a number is too large for a double") from None


def read_double(data: bytes, at: int, end: int) -> float:
    """The double at ``at``."""
    if at + 8 > end:
        raise FrameError("a double is cut off")
    number: float = _DOUBLE.unpack_from(data, at)[0]
    return number


def signed_32(number: int) -> int:
    """An unsigned varint read as int32: its low 32 bits with their sign."""
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number


def signed_64(number: int) -> int:
    """An unsigned varint read as int64."""
    return number - (1 << 64) if number >> 63 else number


def delimited(tag: bytes, content: bytes) -> bytes:
    """A length-delimited field, also when it is empty."""
    size = len(content)
    return tag + (_SMALL[size] if size < 128 else varint(size)) + content
