"""The key of a cached response: a pure function of everything that may change what a callout answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

import orjson

from request_callout.values import Value, raw

_EXACT_BYTES = 1024 * 1024  # some 25 ms of one processor; longer bodies with blanks count byte by byte
_MOST_CONTAINERS = 1_000_000  # an object takes a hundred times its length in memory
_LEAST, _GREATEST = -(2**63), 2**64 - 1  # orjson's integers


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
    vary_on: Sequence[str] = (),
) -> str:
    """The SHA-256 (hex) over all of these; order in query, headers and JSON objects makes no difference.

    None is the same as empty. ``url`` is without its query, ``query`` and ``headers`` are pairs with repeated names
    one after the other. ``vary_on`` are further values, in order.
    """
    digest = hashlib.sha256()
    parts: tuple[str | bytes, ...] = (
        *(route_id or "", plugin_id, consumer_id or ""),
        _pairs((group, "") for group in consumer_groups),
        *(callout, method, url),
        _pairs(query),
        _pairs((name.lower(), value) for name, value in headers),
        _canonical(body),
        *vary_on,  # nothing at all where there are none: keys stay what they were before there could be any
    )
    for part in parts:
        data = part if isinstance(part, bytes) else raw(part)
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def _pairs(pairs: Iterable[tuple[str, str]]) -> bytes:
    ordered = sorted(pairs, key=lambda pair: pair[0])  # stable: the order of a repeated name counts
    return b"".join(b"%d:%b=%d:%b;" % (len(n), n, len(v), v) for n, v in ((raw(n), raw(v)) for n, v in ordered))


def _canonical(body: bytes | None) -> bytes:
    """A JSON object or list with its names in order and without blanks, anything else as it is.

    JSON that says more than its values (a name given twice, a number with more digits than they hold) counts as it is
    too: a service may read it otherwise, and answer otherwise. So does what would take too much memory.
    """
    if not body:
        return b""
    if body[:1] in b"{[" and body.count(b"{") + body.count(b"[") <= _MOST_CONTAINERS:
        try:
            value: Value = orjson.loads(body)
            if orjson.dumps(value) == body or _exact(body):
                return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except (orjson.JSONDecodeError, TypeError):  # no JSON, or nested too deeply
            pass
    return body


def _exact(body: bytes) -> bool:
    """Whether writing this JSON again would lose nothing but blanks, order and escapes."""
    if len(body) > _EXACT_BYTES:
        return False
    try:
        json.loads(body, object_pairs_hook=_names_once, parse_int=_same_integer, parse_float=_same_float)
    except (ValueError, RecursionError):
        return False
    return True


def _names_once(pairs: list[tuple[str, Value]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name is given twice")


def _same_integer(text: str) -> None:
    number = int(text)
    if not _LEAST <= number <= _GREATEST or str(number) != text:
        raise ValueError("the number does not fit")


def _same_float(text: str) -> None:
    if repr(float(text)) != text:
        raise ValueError("the number would be written otherwise")
