"""Values on their way into Lua and back.

Into Lua they go in LuaJIT's own serialisation (https://luajit.org/ext_buffer.html#serialize), written here and read by
C code there. Out of Lua they come as MessagePack, written by ``prelude/values.lua`` and read by C code here. Each
crossing is so one byte string: nothing on Lua's side refers to an object of Python's, nor the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

import msgpack

from request_callout.values import Kept, Value

MAX_DEPTH = 100
"""How deep a value may nest; LuaJIT's serialisation allows no more."""

NIL = b"\x00"

_NULL = b"\x03"
_FALSE = b"\x01"
_TRUE = b"\x02"
_EMPTY = b"\x08"
_ARRAY_META = b"\x0e\x00"
_HEADERS_META = b"\x0e\x01"
_SHORT = tuple(bytes((0x20 + size,)) for size in range(0xC0))
_pack_int = Struct("<Bi").pack
_pack_float = Struct("<Bd").pack
_SMALL = tuple(_pack_int(6, number) for number in range(1024))


class Headers(dict[str, Value]):
    """A dict that becomes a table whose string keys are found in any case, and with ``_`` for ``-``.

    The keys themselves must be in lower case.
    """


def _size(number: int) -> bytes:
    """A count in the variable-length form of the serialisation."""
    if number < 0xE0:
        return bytes((number,))
    if number < 0x1FE0:
        number -= 0xE0
        return bytes((0xE0 | number >> 8, number & 0xFF))
    return b"\xff" + number.to_bytes(4, "little")


@lru_cache(maxsize=4096)
def _key(key: str) -> bytes:
    data = key.encode("utf-8", "surrogateescape")
    return _size(0x20 + len(data)) + data


def encode(value: Value) -> bytes:
    """A value as Lua will read it; None is nil at the top and ``ngx.null`` inside.

    Raises ValueError for what Lua cannot hold: too deep, containing itself, a number out of range, another type.
    """
    kind = type(value)
    if kind is str:
        data = value.encode("utf-8", "surrogateescape")
        size = len(data)
        return (_SHORT[size] if size < 0xC0 else _size(0x20 + size)) + data  # type: ignore[no-any-return]
    if value is None:
        return NIL
    pieces: list[bytes] = []
    _put(value, pieces.append, MAX_DEPTH)
    return b"".join(pieces)


def _put(value: Any, add: Callable[[bytes], None], depth: int) -> None:
    kind = type(value)
    if kind is str:
        data = value.encode("utf-8", "surrogateescape")
        size = len(data)
        add(_SHORT[size] if size < 0xC0 else _size(0x20 + size))
        add(data)
    elif kind is dict:
        _put_members(value, add, depth)
    elif kind is Kept:
        add(_kept(value, depth))
    elif kind is list or kind is tuple:
        if not depth:
            raise ValueError(f"a value nests deeper than {MAX_DEPTH} levels, or contains itself")
        add(_ARRAY_META)
        if value:
            add(b"\x0c" + _size(len(value) + 1))
            for item in value:
                _put(item, add, depth - 1)
        else:
            add(_EMPTY)
    elif value is None:
        add(_NULL)
    elif value is True:
        add(_TRUE)
    elif value is False:
        add(_FALSE)
    elif isinstance(value, int):
        add(_number(value))
    elif isinstance(value, float):
        add(_pack_float(7, value))
    elif isinstance(value, (bytes, bytearray)):
        add(_size(0x20 + len(value)))
        add(bytes(value))
    elif isinstance(value, str):
        add(_key(str(value)))
    elif isinstance(value, Headers):
        add(_HEADERS_META)
        _put_members(value, add, depth)
    elif isinstance(value, Mapping):
        _put_members(value, add, depth)
    else:
        raise ValueError(f"a {kind.__name__} has no form in Lua")


def _kept(value: Kept, depth: int) -> bytes:
    try:
        return value.for_lua
    except AttributeError:
        pieces: list[bytes] = []
        _put_members(value, pieces.append, depth)
        value.for_lua = b"".join(pieces)
        return value.for_lua


def _put_members(value: Mapping[Any, Any], add: Callable[[bytes], None], depth: int) -> None:
    if not depth:
        raise ValueError(f"a value nests deeper than {MAX_DEPTH} levels, or contains itself")
    if not value:
        add(_EMPTY)
        return
    add(b"\x09" + _size(len(value)))
    for key, member in value.items():
        if type(key) is str:
            add(
                _key(key)
                if len(key) <= 64
                else _size(0x20 + len(data := key.encode("utf-8", "surrogateescape"))) + data
            )
        elif type(key) is int:
            add(_number(key))
        else:
            raise ValueError(f"a key of type {type(key).__name__} has no form in Lua")
        _put(member, add, depth - 1)


def _number(value: int) -> bytes:
    if 0 <= value < 1024:
        return _SMALL[value]
    if -0x80000000 <= value <= 0x7FFFFFFF:
        return _pack_int(6, value)
    try:
        return _pack_float(7, float(value))
    except OverflowError:
        raise ValueError("a number is too large for Lua") from None


def decode(data: bytes) -> Value:
    """The value that Lua wrote."""
    return msgpack.unpackb(data, raw=False, unicode_errors="surrogateescape", strict_map_key=False)
