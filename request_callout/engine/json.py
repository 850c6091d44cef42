"""JSON as the engine reads and writes it: strict when decoding, lossless for text when encoding."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from request_callout.values import Value, raw


class NotJsonError(ValueError):
    """Bytes that are no JSON document."""


_DEEPEST = 1000
MAX_DEPTH = 500
"""How deep a document may nest: what is decoded has to be encoded again."""
MAX_CONTAINERS = 1_000_000
"""How many objects and lists a document may have: an empty one is two bytes long, and takes a hundred in memory."""

_STRING = re.compile(rb'"[^"]*"')


def decode(data: bytes) -> Value:
    """The value of a JSON document; raises NotJsonError with the reason and place."""
    opening = _opening(data)
    if opening > MAX_CONTAINERS and _opening(_without_strings(data)) > MAX_CONTAINERS:
        raise NotJsonError(f"it has more than {MAX_CONTAINERS:,} objects and lists")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotJsonError(str(error)) from None
    if opening > MAX_DEPTH and _deeper_than(MAX_DEPTH, value):
        raise NotJsonError(f"it nests deeper than {MAX_DEPTH} levels")
    return value


def _opening(data: bytes) -> int:
    """How many objects and lists there are at most."""
    return data.count(b"{") + data.count(b"[")


def _without_strings(data: bytes) -> bytes:
    return _STRING.sub(b"", data.replace(rb"\\", b"").replace(rb"\"", b""))


def _deeper_than(limit: int, value: Value) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def encode(value: Value) -> bytes:
    """A value as compact JSON; text that is no UTF-8 goes out as the bytes it came in as."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # lone surrogates, integers over 64 bits or many levels, which orjson refuses
        return raw(json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def _finite(value: Value, depth: int = 0) -> Value:
    """The value with null for the numbers that JSON lacks, as orjson writes them."""
    if depth > _DEEPEST:  # nothing else stops this before the end of the stack when it is compiled
        raise RecursionError(f"a value nests deeper than {_DEEPEST} levels")
    if isinstance(value, dict):
        return {name: _finite(one, depth + 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one, depth + 1) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def lua_text(value: Any) -> str | None:
    """What Lua's ``tostring`` gives for a scalar in an expression's place, None if only Lua can tell (tables)."""
    if isinstance(value, str):
        return value
    if value is None or value is False:
        return ""
    if value is True:
        return "true"
    if isinstance(value, int):
        return str(value) if -(10**14) < value < 10**14 else f"{float(value):.14g}"
    if isinstance(value, float):
        return f"{value:.14g}"
    return None
