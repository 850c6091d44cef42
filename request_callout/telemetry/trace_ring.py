"""The last traces, in memory, and the HTTP interface to them: ``GET /traces`` and ``GET /traces/ID``."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import parse_qs

MAX_TRACES = 200
MAX_BYTES = 8 * 1024 * 1024

Environ: TypeAlias = "dict[str, Any]"
StartResponse: TypeAlias = Callable[..., Any]

_SUMMARY = ("id", "at", "request_id", "route", "service", "background", "duration_ms", "outcome", "status", "failure")


@dataclass(frozen=True, slots=True)
class _Kept:
    summary: dict[str, Any]
    record: bytes


class TraceRing:
    """Keeps the records that came last: at most so many, and so many bytes of them."""

    def __init__(self, max_traces: int = MAX_TRACES, max_bytes: int = MAX_BYTES) -> None:
        self._max_traces = max_traces
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def add(self, record: bytes) -> None:
        """Keep a record; what is none is dropped."""
        try:
            value = json.loads(record)
        except ValueError:
            return
        if not isinstance(value, dict) or not isinstance(value.get("id"), str):
            return
        self._drop(value["id"])
        self._kept[value["id"]] = _Kept(_summary(value), record)
        self._bytes += len(record)
        while len(self._kept) > self._max_traces or self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def get(self, trace_id: str) -> bytes | None:
        """The record of one trace."""
        kept = self._kept.get(trace_id)
        return None if kept is None else kept.record

    def since(self, trace_id: str | None = None) -> list[dict[str, Any]]:
        """What the traces after this one are, newest first; all of them if it is not known (any more)."""
        summaries: list[dict[str, Any]] = []
        for one in reversed(self._kept):
            if one == trace_id:
                break
            summaries.append(self._kept[one].summary)
        return summaries

    def _drop(self, trace_id: str) -> None:
        kept = self._kept.pop(trace_id, None)
        if kept is not None:
            self._bytes -= len(kept.record)


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    request = record.get("request") or {}
    callouts = [
        {name: one.get(name) for name in ("name", "start_ms", "end_ms", "result", "cache")}
        for one in record.get("callouts") or ()
        if one.get("index") is None
    ]
    asked = {"method": request.get("method"), "path": request.get("path")}
    return {**{name: record.get(name) for name in _SUMMARY}, **asked, "callouts": callouts}


class TraceApp:
    """Takes records into a ring and shows them, as a WSGI application."""

    def __init__(self, ring: TraceRing | None = None) -> None:
        self._ring = ring or TraceRing()

    def add(self, record: bytes) -> None:
        """See ``TraceRing.add``."""
        self._ring.add(record)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        status, body = self._answer(environ)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: Environ) -> tuple[str, bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", _message("only GET is answered here")
        path = environ.get("PATH_INFO", "")
        if path == "/traces":
            since = parse_qs(environ.get("QUERY_STRING", "")).get("since", [None])[0]
            return "200 OK", json.dumps(self._ring.since(since), separators=(",", ":")).encode()
        if path.startswith("/traces/"):
            record = self._ring.get(path.removeprefix("/traces/"))
            if record is not None:
                return "200 OK", record
            return "404 Not Found", _message("there is no such trace; only the last ones are kept")
        return "404 Not Found", _message("there are /traces and /traces/ID")


def _message(text: str) -> bytes:
    return json.dumps({"message": text}).encode()
