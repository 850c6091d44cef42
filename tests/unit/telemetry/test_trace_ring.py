"""The last traces and their HTTP interface."""

from __future__ import annotations

import json
from typing import Any

import pytest

from request_callout.telemetry.trace_ring import TraceApp, TraceRing


def record(trace_id: str, size: int = 0) -> bytes:
    return json.dumps({"id": trace_id, "request": {"method": "GET", "path": "/a"}, "more": "x" * size}).encode()


def ring(*ids: str, **bounds: int) -> TraceRing:
    made = TraceRing(**bounds)
    for one in ids:
        made.add(record(one))
    return made


def ask(app: TraceApp, path: str, query: str = "", method: str = "GET") -> tuple[str, Any]:
    told: list[str] = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    body = b"".join(app(environ, lambda status, headers: told.append(status)))
    return told[0][:3], json.loads(body) if body else None


def ids(kept: TraceRing, since: str | None = None) -> list[str]:
    return [summary["id"] for summary in kept.since(since)]


def test_the_oldest_go_first() -> None:
    """Only the last ones are kept, by number and by bytes."""
    assert ids(ring("a", "b", "c", max_traces=2)) == ["c", "b"]
    full = TraceRing(max_bytes=500)
    for one in "abc":
        full.add(record(one, 150))
    assert ids(full) == ["c", "b"]
    assert full.get("a") is None


def test_since_gives_what_is_newer() -> None:
    """After a known trace come only newer ones; after an unknown one, all."""
    assert ids(ring("a", "b", "c"), "b") == ["c"]
    assert ids(ring("a", "b", "c"), "x") == ["c", "b", "a"]


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"id": 1}'])
def test_what_is_no_record_is_dropped(broken: bytes) -> None:
    """A ring keeps records only."""
    app = TraceApp(ring("a"))
    app.add(broken)
    assert len(ask(app, "/traces")[1]) == 1


def test_the_interface_lists_and_shows() -> None:
    """/traces is a list, newest first; /traces/ID is one record as it came."""
    app = TraceApp(ring("a", "b"))
    status, listed = ask(app, "/traces")
    assert (status, [one["id"] for one in listed]) == ("200", ["b", "a"])
    assert listed[0]["path"] == "/a"
    assert ask(app, "/traces", "since=a")[1][0]["id"] == "b"
    assert ask(app, "/traces/a") == ("200", json.loads(record("a")))


def test_the_interface_refuses_the_rest() -> None:
    """Unknown traces and paths are 404, other methods 405; HEAD has no body."""
    app = TraceApp(ring("a"))
    assert ask(app, "/traces/x")[0] == "404"
    assert ask(app, "/x")[0] == "404"
    assert ask(app, "/traces", method="DELETE")[0] == "405"
    assert ask(app, "/traces", method="HEAD") == ("200", None)
