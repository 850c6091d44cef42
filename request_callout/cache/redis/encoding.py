"""The bytes that Redis keeps for a response: a version, then MessagePack.

Processes of different releases read each other's values, so a version's layout never changes: what has to change gets
a new version, and a value of any other version is one that can't be read. Version 1 is the array ``[status, headers,
body, stored_at, fresh_s, callout, plugin_id, varies]`` (https://github.com/msgpack/msgpack/blob/master/spec.md); a
header's value is a string, or an array of them where it was repeated. Strings hold the bytes that were received, also
those that are no UTF-8.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack

from request_callout.cache.store import CachedResponse

VERSION = 1

_PREFIX = bytes([VERSION])
_FIELDS = 8
_NUMBER = (int, float)


def encode(response: CachedResponse) -> bytes:
    """All of a response but its decoded body; ValueError for text that has no bytes (a lone surrogate of UTF-16)."""
    fields = (
        response.status,
        dict(response.headers),
        response.raw_body,
        float(response.stored_at),
        float(response.fresh_s),
        response.callout,
        response.plugin_id,
        dict(response.varies),
    )
    packed: bytes = msgpack.packb(fields, unicode_errors="surrogateescape")
    return _PREFIX + packed


def decode(value: object) -> CachedResponse | None:
    """The response that these bytes were made of; None for anything else, whatever it is."""
    if not isinstance(value, bytes) or value[:1] != _PREFIX:
        return None
    try:
        fields = msgpack.unpackb(memoryview(value)[1:], unicode_errors="surrogateescape")
    except Exception:  # what the parser raises for nonsense is not limited by its documentation
        return None
    if not isinstance(fields, list) or len(fields) != _FIELDS:
        return None
    status, headers, body, stored_at, fresh_s, callout, plugin_id, varies = fields
    if (
        type(status) is int
        and isinstance(body, bytes)
        and _is_headers(headers)
        and type(stored_at) in _NUMBER
        and math.isfinite(stored_at)
        and type(fresh_s) in _NUMBER
        and not math.isnan(fresh_s)
        and isinstance(callout, str)
        and isinstance(plugin_id, str)
        and _is_varies(varies)
    ):
        return CachedResponse(
            status=status,
            headers=headers,
            raw_body=body,
            stored_at=float(stored_at),
            fresh_s=float(fresh_s),
            callout=callout,
            plugin_id=plugin_id,
            varies=varies,
        )
    return None


def _is_headers(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    for name, one in value.items():
        if not isinstance(name, str):
            return False
        if not isinstance(one, str) and not (isinstance(one, list) and all(isinstance(line, str) for line in one)):
            return False
    return True


def _is_varies(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and (sent is None or isinstance(sent, str)) for name, sent in value.items()
    )
