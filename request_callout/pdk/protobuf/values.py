"""Google's ``Value``, ``Struct`` and ``ListValue`` straight to and from plain Python values.

A ``Value`` is the content of headers, queries, the shared context and the log record, so its functions are the ones
that have to be quick: one pass, no objects in between. Numbers are doubles on the wire; an integral one that a double
holds exactly is an ``int`` here.

What Kong does with them decides two things (https://protobuf.dev/reference/protobuf/google.protobuf/ leaves them open):
Kong reads ``false`` as nil and a null as the string ``NULL_VALUE``. So null members of a dict are left out, and a null
anywhere else is sent as false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from request_callout.pdk.protobuf.wire import (
    FrameError,
    delimited,
    double,
    read_double,
    read_length,
    read_varint,
    skip,
    varint,
)
from request_callout.values import Kept, Value, raw, text

MAX_DEPTH = 100
"""How deep dicts and lists may be nested, in both directions."""

NULL = b"\x08\x01"
"""A ``Value`` of null as Kong writes it: the field is there, its number is 1 (Google's libraries write 0)."""

_EXACT = 2**53
_KEPT_NAME = 64
_KEPT_TEXT = 32
_KEPT_NUMBER = 1024
_SHORT = 126
_TEXT = tuple(bytes((0x12, size + 2, 0x1A, size)) for size in range(_SHORT))
_ENTRY = tuple(bytes((0x0A, size)) for size in range(128))
_FALSE = b"\x20\x00"
_TRUE = b"\x20\x01"
_FALSE_MEMBER = b"\x12\x02" + _FALSE
_TRUE_MEMBER = b"\x12\x02" + _TRUE
_NUMBER_MEMBER = b"\x12\x09\x11"


def encode_value(value: Value, depth: int = 0) -> bytes:
    """The fields of a ``Value``. Raises ValueError or TypeError for what Kong could not read."""
    kind = type(value)
    if kind is str:
        return delimited(b"\x1a", raw(value))
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is int or kind is float:
        return b"\x11" + _number(value)
    if value is None:
        return _FALSE
    if kind is dict:
        return delimited(b"\x2a", encode_struct(value, depth + 1))
    if kind is list:
        return delimited(b"\x32", encode_list(value, depth + 1))
    if kind is Kept:
        return _encode_kept(value, depth)
    return _encode_other(value, depth)


def encode_struct(value: Mapping[str, Value], depth: int = 0) -> bytes:
    """The fields of a ``Struct``; null members are left out."""
    if depth > MAX_DEPTH:
        raise ValueError(f"a value is nested more than {MAX_DEPTH} deep")
    parts: list[bytes] = []
    add = parts.append
    for name, member in value.items():
        if member is None:
            continue
        kind = type(member)
        # Most members are the same from request to request (a content type, a status, a count): these are kept as
        # they go out. The others of the usual kinds are written without a call for each of the three lengths around
        # them. The context of a callout takes 7 us so, 24 us otherwise.
        if len(name) <= _KEPT_NAME:
            if kind is str:
                if len(member) <= _KEPT_TEXT:
                    add(_text_member(name, member))
                    continue
            elif kind is int and -_KEPT_NUMBER <= member <= _KEPT_NUMBER:
                add(_number_member(name, member))
                continue
            entry = _name(name)
        else:
            entry = delimited(b"\x0a", raw(name))
        if kind is str and len(member) < _SHORT:
            content = member.encode("utf-8", "surrogateescape")
            size = len(content)
            entry += _TEXT[size] + content if size < _SHORT else delimited(b"\x12", delimited(b"\x1a", content))
        elif kind is bool:
            entry += _TRUE_MEMBER if member else _FALSE_MEMBER
        elif kind is int and -_EXACT <= member <= _EXACT:
            entry += _NUMBER_MEMBER + double(member)
        else:
            entry += delimited(b"\x12", encode_value(member, depth))
        size = len(entry)
        add((_ENTRY[size] if size < 128 else b"\x0a" + varint(size)) + entry)
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _text_member(name: str, member: str) -> bytes:
    """The field of a member that is a short text."""
    return delimited(b"\x0a", _name(name) + delimited(b"\x12", delimited(b"\x1a", raw(member))))


@lru_cache(maxsize=4096)
def _number_member(name: str, member: int) -> bytes:
    """The field of a member that is a small number."""
    return delimited(b"\x0a", _name(name) + _NUMBER_MEMBER + double(member))


def _encode_kept(value: Kept, depth: int) -> bytes:
    try:
        return value.for_kong
    except AttributeError:
        value.for_kong = delimited(b"\x2a", encode_struct(value, depth + 1))
        return value.for_kong


@lru_cache(maxsize=4096)
def _name(name: str) -> bytes:
    """The field that holds a member's name."""
    return delimited(b"\x0a", raw(name))


def encode_list(value: Sequence[Value], depth: int = 0) -> bytes:
    """The fields of a ``ListValue``; null elements are false, which Kong reads as nil."""
    if depth > MAX_DEPTH:
        raise ValueError(f"a value is nested more than {MAX_DEPTH} deep")
    return b"".join([delimited(b"\x0a", encode_value(element, depth)) for element in value])


def decode_value(data: bytes, at: int, end: int, depth: int = 0) -> Value:
    """The value between ``at`` and ``end``; an empty message is null. Of several fields the last counts."""
    value: Value = None
    while at < end:
        tag = data[at]
        at += 1
        if tag == 0x1A:
            start, at = read_length(data, at, end)
            value = text(data[start:at])
        elif tag == 0x11:
            number = read_double(data, at, end)
            at += 8
            value = int(number) if number.is_integer() and -_EXACT <= number <= _EXACT else number
        elif tag == 0x20:
            flag, at = read_varint(data, at, end)
            value = flag != 0
        elif tag == 0x2A:
            start, at = read_length(data, at, end)
            value = decode_struct(data, start, at, depth + 1)
        elif tag == 0x32:
            start, at = read_length(data, at, end)
            value = decode_list(data, start, at, depth + 1)
        elif tag == 0x08:
            _, at = read_varint(data, at, end)
            value = None
        else:
            full, at = read_varint(data, at - 1, end)
            at = skip(data, at, end, full)
    return value


def decode_struct(data: bytes, at: int, end: int, depth: int = 0) -> dict[str, Value]:
    """The members of the ``Struct`` between ``at`` and ``end``; of a repeated name the last counts."""
    if depth > MAX_DEPTH:
        raise FrameError(f"a value is nested more than {MAX_DEPTH} deep")
    result: dict[str, Value] = {}
    while at < end:
        if data[at] != 0x0A:
            tag, at = read_varint(data, at, end)
            at = skip(data, at, end, tag)
            continue
        entry, at = read_length(data, at + 1, end)
        name = ""
        member: Value = None
        while entry < at:
            tag = data[entry]
            if tag == 0x0A:
                start, entry = read_length(data, entry + 1, at)
                name = text(data[start:entry])
            elif tag == 0x12:
                start, entry = read_length(data, entry + 1, at)
                member = decode_value(data, start, entry, depth)
            else:
                tag, entry = read_varint(data, entry, at)
                entry = skip(data, entry, at, tag)
        result[name] = member
    return result


def decode_list(data: bytes, at: int, end: int, depth: int = 0) -> list[Value]:
    """The elements of the ``ListValue`` between ``at`` and ``end``."""
    if depth > MAX_DEPTH:
        raise FrameError(f"a value is nested more than {MAX_DEPTH} deep")
    result: list[Value] = []
    while at < end:
        if data[at] != 0x0A:
            tag, at = read_varint(data, at, end)
            at = skip(data, at, end, tag)
            continue
        start, at = read_length(data, at + 1, end)
        result.append(decode_value(data, start, at, depth))
    return result


def as_kong_reads(value: Value) -> Value:
    """What Kong makes of a decoded value: false is nil (None here), a null is the string ``NULL_VALUE``.

    Nil members of a dict are gone; a nil element of a list leaves a hole (None).
    """
    if isinstance(value, dict):
        return {name: as_kong_reads(member) for name, member in value.items() if member is not False}
    if isinstance(value, list):
        return [as_kong_reads(element) for element in value]
    if value is None:
        return "NULL_VALUE"
    return None if value is False else value


def _number(value: int | float) -> bytes:
    try:
        return double(value)
    except OverflowError:
        raise ValueError("a number is too large for Kong") from None


def _encode_other(value: Any, depth: int) -> bytes:
    """Subclasses and the other mappings and sequences, off the quick path."""
    if isinstance(value, dict):
        return delimited(b"\x2a", encode_struct(value, depth + 1))
    if isinstance(value, str):
        return delimited(b"\x1a", raw(value))
    if isinstance(value, bytes):
        return delimited(b"\x1a", value)
    if isinstance(value, (int, float)):
        return b"\x11" + _number(value)
    if isinstance(value, Mapping):
        return delimited(b"\x2a", encode_struct(value, depth + 1))
    if isinstance(value, (list, tuple)):
        return delimited(b"\x32", encode_list(value, depth + 1))
    raise TypeError(f"a {type(value).__name__} can't be sent to Kong")


__all__ = [
    "MAX_DEPTH",
    "NULL",
    "as_kong_reads",
    "decode_list",
    "decode_struct",
    "decode_value",
    "encode_list",
    "encode_struct",
    "encode_value",
]
