"""How log lines look, and their level while the server runs."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from request_callout.server.log_lines import Format, formatter
from tests.failures.stage import children
from tests.unit.server.kong_side import KongSide
from tests.unit.server.processes import Start, connect, fake_server

NASTY = 'x\n2026-01-01 00:00:00,000 ERROR forged "\\ \x1b[0m \u2028 \udcff \x00'
FIELDS = {"request_id": "id-1", "route": "r", "plugin": "p", "callout": "a", "ms": 1.5, "cache": None}


def logged(style: Format, message: str, *, fields: dict[str, Any] | None = None, error: Exception | None = None) -> str:
    """What is written for one record."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter(style, "worker 1"))
    record = logging.LogRecord("request_callout.x", logging.INFO, "f", 1, message, None, None)
    if fields is not None:
        record.fields = fields
    if error is not None:
        record.exc_info = (type(error), error, None)
    handler.emit(record)
    return out.getvalue()


def test_text_has_what_the_message_lacks() -> None:
    """Route, plugin and result stand behind the message as key=value."""
    line = logged("text", "[id-1] callout a: status 200", fields=FIELDS)
    assert re.fullmatch(r"\S+ \S+ INFO worker 1: \[id-1\] callout a: status 200 route=r plugin=p\n", line)


def test_json_has_every_field() -> None:
    """Time with milliseconds and zone, level, logger, process, and the fields; what is None is left out."""
    told = json.loads(logged("json", "[id-1] callout a: status 200", fields=FIELDS))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", told.pop("time"))
    assert told == {
        "level": "info",
        "logger": "request_callout.x",
        "process": "worker 1",
        "message": "callout a: status 200",
        **{name: value for name, value in FIELDS.items() if value is not None},
    }


@pytest.mark.parametrize("style", ["text", "json"])
def test_whatever_is_in_it_a_record_is_one_line(style: Format) -> None:
    """Line breaks, control characters and text that is no Unicode make no second line, nor JSON that can't be read."""
    line = logged(style, NASTY, fields={"route": NASTY, "plugin": NASTY})
    assert len(line.splitlines()) == 1
    if style == "json":
        assert json.loads(line)["message"] == json.loads(line)["route"] == NASTY


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_record_has_a_bounded_length(style: Format) -> None:
    """A megabyte in message, field and error is cut."""
    line = logged(style, "x" * 10**6, fields={"route": "y" * 10**6}, error=None)
    assert len(line) < 10_000


def test_a_traceback_forges_no_line_of_text() -> None:
    """Only the record's own line begins at the margin; control characters are escaped, and the length has a bound."""
    error = ValueError(f"{NASTY}\n2026-01-01 00:00:00,000 ERROR forged\r\x1b[2J\u202e" + "x" * 20_000)
    first, *more = logged("text", "unexpected error", error=error).rstrip("\n").split("\n")
    assert first.endswith("unexpected error")
    assert any("ERROR forged" in line for line in more)
    assert [line for line in more if not line.startswith("  ") or not line.isprintable()] == []
    assert sum(map(len, more)) < 18_000


def test_a_traceback_is_a_field_of_json() -> None:
    """An error with line breaks in its text stays within its record."""
    told = json.loads(logged("json", "unexpected error", error=ValueError(NASTY)))
    assert "ValueError" in told["traceback"]


def test_the_level_is_stepped_by_a_signal(start: Start, tmp_path: Path) -> None:
    """SIGUSR2 leads from info to debug and back, in one line each, and again; the workers stay the same."""
    process = fake_server(start, str(tmp_path / "s"), workers=2)
    before = children(process.process.pid)
    for level, was in (("debug", "info"), ("info", "debug"), ("debug", "info")):
        process.signal(signal.SIGUSR2)
        process.wait_for(f"the log's level is {level} now (was {was})")
    assert children(process.process.pid) == before


def test_a_worker_is_not_killed_by_the_signal(start: Start, tmp_path: Path) -> None:
    """SIGUSR2 to a worker does nothing."""
    path = str(tmp_path / "s")
    process = fake_server(start, path)
    before = children(process.process.pid)
    os.kill(before[0], signal.SIGUSR2)
    kong = connect(path)
    kong.event(kong.start({}), {"kong.request.get_path": "/p"})
    assert children(process.process.pid) == before


def test_stacks_are_written_on_a_signal(start: Start, tmp_path: Path) -> None:
    """SIGUSR1 makes every process write its stack, named one after the other; none of them ends."""
    process = fake_server(start, str(tmp_path / "s"), workers=2)
    before = children(process.process.pid)
    process.signal(signal.SIGUSR1)
    for _ in range(1 + len(before)):
        process.wait_for("most recent call first")
    lines = process.log.splitlines()
    places = [
        next(place for place, line in enumerate(lines) if words in line)
        for words in ("in _turn", "this was the supervisor's stack", "the stack of worker 1", "the stack of worker 2")
    ]
    assert places == sorted(places)
    process.signal(signal.SIGUSR2)
    process.wait_for("the log's level is")
    assert children(process.process.pid) == before


def events(kong: KongSide, config: dict[str, Any]) -> None:
    """So many that the level has come over the link before the last."""
    for _ in range(50):
        kong.event(kong.start(config))


def test_workers_log_at_the_new_level(start: Start, tmp_path: Path) -> None:
    """From error by way of info to debug: workers that run log attempts then, and so do those started later."""
    path = str(tmp_path / "kong.sock")
    process = start("request_callout", "serve", "--socket", path, "--log-level", "error", "--ready-file", f"{path}.ok")
    while not Path(f"{path}.ok").exists():
        assert process.process.poll() is None
    config = {"callouts": [{"name": "a", "request": {"url": "http://127.0.0.1:1", "error": {"on_error": "continue"}}}]}
    for level, was in (("info", "error"), ("debug", "info")):
        process.signal(signal.SIGUSR2)
        process.wait_for(f"the log's level is {level} now (was {was})")
    worker = children(process.process.pid)[0]
    kong = connect(path)
    events(kong, config)
    process.wait_for("attempt 1: GET")
    os.kill(worker, signal.SIGKILL)
    process.wait_for("replaced now")
    kong = connect(path)
    events(kong, config)
    process.wait_for("attempt 1: GET")
    process.signal(signal.SIGUSR2)
    process.wait_for("the log's level is error now (was debug)")
