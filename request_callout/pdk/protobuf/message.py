"""What a message is, and the conversions of arguments that all of them share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from request_callout.values import raw


@dataclass(frozen=True, slots=True)
class Message:
    """A message type: ``encode(value) -> bytes``, ``decode(bytes) -> value`` (FrameError if malformed).

    ``encode`` raises TypeError or ValueError for a value of the wrong kind.
    """

    name: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def as_bytes(value: Any) -> bytes:
    """Text, bytes or a number as the bytes that Lua would make of it."""
    if isinstance(value, str):
        return raw(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, bool) or value is None:
        raise TypeError(f"text expected, got {'nil' if value is None else 'a boolean'}")
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, float):
        return b"%.14g" % value
    raise TypeError(f"text expected, got a {kind_of(value)}")


def as_int(value: Any) -> int:
    """An integral number. Raises TypeError or ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"an integer expected, got a {kind_of(value)}")
    if not math.isfinite(value) or int(value) != value:
        raise ValueError(f"an integer expected, got {value!r}")
    if not -(1 << 31) <= value < (1 << 31):
        raise ValueError(f"{int(value)} has more than 32 bits")
    return int(value)


def kind_of(value: Any) -> str:
    """The name of a value's type in Lua."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (Mapping, Sequence)) and not isinstance(value, (str, bytes)):
        return "table"
    return "number" if isinstance(value, (int, float)) else "string"
