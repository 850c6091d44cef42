"""JSON as the engine reads and writes it: strict when decoding, lossless for text when encoding."""

from __future__ import annotations

import json
from typing import Any

import orjson

from request_callout.values import Value, raw


class NotJsonError(ValueError):
    """Bytes that are no JSON document."""


def decode(data: bytes) -> Value:
    """The value of a JSON document; raises NotJsonError with the reason and place."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotJsonError(str(error)) from None


def encode(value: Value) -> bytes:
    """A value as compact JSON; text that is no UTF-8 goes out as the bytes it came in as."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # lone surrogates or integers over 64 bits, which orjson refuses
        return raw(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


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
