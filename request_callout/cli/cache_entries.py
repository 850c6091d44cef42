"""How an entry of the cache is shown: as a line of a table, as a whole, and as JSON."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from request_callout.values import printable

if TYPE_CHECKING:
    from request_callout.cache.redis.entries import Entry

_ROW = "{:>6}  {:10}  {:>7}  {:>7}  {:>10}  {:20}  {:36}  {}"
HEADINGS = _ROW.format("STATUS", "STATE", "AGE", "LEFT", "BYTES", "CALLOUT", "PLUGIN", "KEY")

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


def row(entry: Entry) -> str:
    """A line below ``HEADINGS``. The key is last: a script may have chosen a long one."""
    response = entry.response
    left = "-" if entry.ttl_ms is None else _duration(entry.ttl_ms / 1000)
    if response is None:
        return _ROW.format("-", _state(entry), "-", left, entry.size_bytes, "-", "-", printable(entry.key))
    return _ROW.format(
        *(response.status, _state(entry), _duration(_age_s(response.stored_at)), left, entry.size_bytes),
        *(printable(text) for text in (response.callout or "-", response.plugin_id or "-", entry.key)),
    )


def summary(entry: Entry) -> dict[str, Any]:
    """An entry without its headers and body, for scripts; what is not known is null."""
    response = entry.response
    return {
        "key": entry.key,
        "state": _state(entry),
        "callout": response and response.callout,
        "plugin_id": response and response.plugin_id,
        "status": response and response.status,
        "stored_at": response and response.stored_at,
        "age_s": response and round(_age_s(response.stored_at), 3),
        "ttl_s": None if entry.ttl_ms is None else entry.ttl_ms / 1000,
        "size_bytes": entry.size_bytes,
    }


def whole(entry: Entry) -> dict[str, Any]:
    """All of an entry, for scripts; a body that is no UTF-8 is ``body_base64``."""
    members = summary(entry)
    response = entry.response
    if response is not None:
        members["headers"] = dict(response.headers)
        members["varies"] = dict(response.varies)
        body = _body_text(response.raw_body)
        if body is None:
            members["body_base64"] = base64.b64encode(response.raw_body).decode("ascii")
        else:
            members["body"] = body
    return members


def lines(entry: Entry) -> Iterator[str]:
    """All of an entry, for people."""
    shown = {name: value for name, value in summary(entry).items() if value is not None}
    if entry.response is None:
        shown["state"] = "unreadable: of another version, or not of this plugin"
    if "stored_at" in shown:
        with contextlib.suppress(ValueError, OverflowError):  # no moment of the calendar
            shown["stored_at"] = datetime.fromtimestamp(shown["stored_at"], timezone.utc).isoformat()
    for name, value in shown.items():
        yield printable(f"{name}: {value}")
    response = entry.response
    if response is None:
        return
    for name, sent in response.varies.items():
        yield printable(f"varies: {name}: {'(not sent)' if sent is None else sent}")
    yield ""
    for name, value in response.headers.items():
        for one in [value] if isinstance(value, str) else value:
            yield printable(f"{name}: {one}")
    yield ""
    body = _body_text(response.raw_body)
    if body is None:
        yield f"({len(response.raw_body)} bytes that are no text; --json has them)"
    elif body:
        yield from map(printable, body.split("\n"))


def _state(entry: Entry) -> str:
    response = entry.response
    if response is None:
        return "unreadable"
    return "stale" if _age_s(response.stored_at) >= response.fresh_s else "fresh"


def _age_s(stored_at: float) -> float:
    return max(0.0, time.time() - stored_at)


def _duration(seconds: float) -> str:
    for unit_s, name in _UNITS:
        if seconds >= 10 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} s"


def _body_text(body: bytes) -> str | None:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return None
