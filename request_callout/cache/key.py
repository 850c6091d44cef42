"""The key of a cached response: a pure function of everything that may change what a callout answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import orjson

from request_callout.values import Value, raw


def cache_key(
    *,
    route_id: str | None,
    plugin_id: str,
    consumer_id: str | None,
    consumer_groups: Sequence[str],
    callout: str,
    method: str,
    url: str,
    query: Iterable[tuple[str, str]],
    headers: Iterable[tuple[str, str]],
    body: bytes | None,
) -> str:
    """The SHA-256 (hex) over all of these; order in query, headers and JSON objects makes no difference.

    ``url`` is without its query, ``query`` and ``headers`` are pairs with repeated names one after the other.
    """
    digest = hashlib.sha256()
    for part in (
        *(route_id or "", plugin_id, consumer_id or ""),
        "\0".join(sorted(consumer_groups)),
        *(callout, method, url),
        _pairs(query),
        _pairs((name.lower(), value) for name, value in headers),
        _canonical(body),
    ):
        data = part if isinstance(part, bytes) else raw(part)
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def _pairs(pairs: Iterable[tuple[str, str]]) -> bytes:
    ordered = sorted(pairs, key=lambda pair: pair[0])  # stable: the order of a repeated name counts
    return b"".join(b"%d:%b=%d:%b;" % (len(n), n, len(v), v) for n, v in ((raw(n), raw(v)) for n, v in ordered))


def _canonical(body: bytes | None) -> bytes:
    if not body:
        return b""
    if body[:1] in b"{[":
        try:
            value: Value = orjson.loads(body)
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except (orjson.JSONDecodeError, TypeError):
            pass
    return body
