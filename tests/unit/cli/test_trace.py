"""``request-callout trace``: the list, the waterfall, the page's server, and what it says when there is nothing."""

from __future__ import annotations

import http.client
import json
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler

import pytest
from click.testing import CliRunner, Result

from request_callout.cli import main
from request_callout.cli.trace.page import is_here, page_server
from request_callout.cli.trace.source import TraceSource
from request_callout.telemetry.trace_ring import TraceApp

HOSTILE = "\x1b[2J<img src=x onerror=alert(1)>[bold]\u202e"


def record(trace_id: str, **more: Any) -> dict[str, Any]:
    attempt = {
        "start_ms": 1.0,
        "end_ms": 40.0,
        "request": {"method": "GET", "url": "http://c.test/a?q", "headers": [["X-A", HOSTILE]], "body": None},
        "response": {"status": 503, "headers": [], "body": {"bytes": 9, "text": f"{HOSTILE}\nline two"}},
    }
    second = {
        "start_ms": 50.0,
        "end_ms": 90.0,
        "request": attempt["request"],
        "error": "no answer",
        "error_kind": "timeout",
    }
    common: dict[str, Any] = {"status": None, "cache": None, "failure": None, "attempts": []}
    return {
        "id": trace_id,
        "at": 1_700_000_000.25,
        "request_id": f"kong-{trace_id}",
        "route": {"id": "r", "name": "orders"},
        "service": None,
        "plugin": "p",
        "worker": 7,
        "background": False,
        "duration_ms": 100.0,
        "outcome": "failed",
        "status": 400,
        "failure": f"callout b: {HOSTILE}",
        "request": {"method": "GET", "path": "/orders", "query": "a=***", "headers": [], "body": None},
        "plan": [
            {"name": "a", "level": 0, "waits_for": []},
            {"name": "b", "level": 1, "waits_for": [{"name": "a", "why": "reads", "where": "config.callouts[2].url"}]},
        ],
        "callouts": [
            {**common, "name": "a", "start_ms": 0.0, "end_ms": 0.5, "result": "ok", "status": 200, "cache": "hit"},
            {**common, "name": "b", "start_ms": 1.0, "end_ms": 95.0, "result": "failed", "attempts": [attempt, second]},
        ],
        "upstream": [{"what": "set header", "name": "X-A", "value": HOSTILE}],
        "answer": {"status": 400, "headers": [], "body": None},
        "server_timing": "request-callout;dur=100.0",
        **more,
    }


class _Handler(WSGIRequestHandler):
    def address_string(self) -> str:
        return "unix"

    def handle(self) -> None:
        self.client_address = ("unix", 0)
        self.raw_requestline = self.rfile.readline()
        if self.parse_request():
            handler = ServerHandler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())  # type: ignore[arg-type]
            handler.request_handler = self  # type: ignore[attr-defined]
            handler.run(self.server.app)  # type: ignore[attr-defined]

    def log_message(self, *_: Any) -> None:
        pass


class _UnixServer(socketserver.UnixStreamServer):
    def __init__(self, path: str, app: TraceApp) -> None:
        self.app = app
        self.base_environ: dict[str, str] = {}
        self.server_name, self.server_port = "unix", 0
        super().__init__(path, _Handler)


@pytest.fixture
def traces() -> TraceApp:
    return TraceApp()


@pytest.fixture
def path(tmp_path: Path, traces: TraceApp) -> Iterator[str]:
    """The socket of a server that keeps the traces."""
    server = _UnixServer(str(tmp_path / "trace.sock"), traces)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield str(tmp_path / "trace.sock")
    server.shutdown()
    thread.join()
    server.server_close()


def add(traces: TraceApp, *ids: str) -> None:
    for one in ids:
        traces.add(json.dumps(record(one)).encode())


def run(*arguments: str, columns: int = 100) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(main, ["trace", *arguments])


def test_the_list_is_newest_first(path: str, traces: TraceApp) -> None:
    """A line a trace with id, request, outcome and callouts."""
    add(traces, "aaaa", "bbbb")
    result = run("--socket", path)
    lines = result.output.splitlines()[1:]
    assert [line.split()[1] for line in lines] == ["bbbb", "aaaa"]
    assert "GET /orders" in lines[0]
    assert "failed 400" in lines[0]
    assert len(run("--socket", path, "--limit", "1").output.splitlines()) == 2


@pytest.mark.parametrize("words", ["aaaa", "aa", "kong-aaaa", "last"])
def test_a_trace_is_found_by_its_id_and_by_kongs(path: str, traces: TraceApp, words: str) -> None:
    """Beginnings of ids are enough; ``last`` is the newest."""
    add(traces, "bbbb", "aaaa")
    assert json.loads(run("--socket", path, words, "--json").output)["id"] == "aaaa"


@pytest.mark.parametrize("columns", [60, 100, 220])
def test_the_waterfall_fits_the_terminal(path: str, traces: TraceApp, columns: int) -> None:
    """A bar a callout, attempts told apart, waits as dots, the cache as a mark, in any width."""
    add(traces, "aaaa")
    output = run("--socket", path, "aaaa", columns=columns).output
    a, b = (line for line in output.splitlines() if "│" in line)
    assert "◆" in a
    assert "cache hit" in a
    assert b.index("█") < b.index("▓")
    assert "failed" in b
    assert max(map(len, (a, b))) <= columns
    assert "b waits for a: it reads it" in output


def test_texts_of_a_trace_move_no_cursor(path: str, traces: TraceApp) -> None:
    """Control characters are shown as escapes, and markup is text."""
    add(traces, "aaaa")
    output = run("--socket", path, "aaaa", columns=200).output
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert "\\x1b[2J<img src=x onerror=alert(1)>[bold]" in output
    assert "line two" in output


def test_following_shows_each_trace_as_it_comes(path: str, traces: TraceApp) -> None:
    """``--follow`` shows what comes after it has begun, the oldest first, and ends without an error on Ctrl-C."""
    add(traces, "before")
    command = [sys.executable, "-m", "request_callout", "trace", "--socket", path, "--follow"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a shell ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        try:
            assert "Waiting for traces" in following.stderr.readline()
            seen = []
            for trace in ("first", "second"):
                add(traces, trace)
                seen.append(next(line for line in following.stdout if "kong-" in line))
            following.send_signal(signal.SIGINT)
            assert following.wait(20) == 0
        finally:
            following.kill()
        assert [name for line in seen for name in ("before", "first", "second") if name in line] == ["first", "second"]
        assert "Traceback" not in following.stderr.read()


def test_json_is_the_record(path: str, traces: TraceApp) -> None:
    """--json gives what the server keeps: an array of summaries, one object for one."""
    add(traces, "aaaa")
    assert json.loads(run("--socket", path, "aaaa", "--json").output) == record("aaaa")
    assert [one["id"] for one in json.loads(run("--socket", path, "--json").output)] == ["aaaa"]


def test_errors_name_the_remedy(path: str, traces: TraceApp, tmp_path: Path) -> None:
    """No socket, a dead one, no traces, an unknown one: each says what to do."""
    missing = run("--socket", str(tmp_path / "none"))
    assert (missing.exit_code, "start the server with --trace-socket" in missing.output) == (1, True)
    empty = run("--socket", path)
    assert (empty.exit_code, 'curl -H "X-Callout-Debug:' in empty.output) == (1, True)
    add(traces, "aaaa")
    unknown = run("--socket", path, "zzzz")
    assert (unknown.exit_code, "without ID the last ones are listed" in unknown.output) == (1, True)
    dead = socketserver.UnixStreamServer(str(tmp_path / "dead"), socketserver.BaseRequestHandler)
    dead.server_close()
    assert "no server listens on" in run("--socket", str(tmp_path / "dead")).output


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:80", "[::]:0", "example.com:80"])
def test_the_page_is_for_this_machine_only(path: str, address: str) -> None:
    """Any address but loopback is refused, with the way to look at it from elsewhere."""
    result = run("--socket", path, "--serve", address)
    assert result.exit_code == 2
    assert "ssh -L" in result.output


@pytest.mark.parametrize("address", ["8080", "unix:/x", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(path: str, address: str) -> None:
    """The error shows an address that is one."""
    result = run("--socket", path, "--serve", address)
    assert result.exit_code == 2
    assert "127.0.0.1" in result.output


@pytest.mark.parametrize(
    ("host", "here"),
    [
        *[(host, True) for host in ("127.0.0.1:80", "localhost:9000", "LOCALHOST", "[::1]:80", "[::1]", "127.0.0.2")],
        *[(host, False) for host in ("", "evil.test:80", "10.0.0.1", "127.0.0.1.evil.test:80", "[::]:80", ":80")],
    ],
)
def test_only_names_of_this_machine_are_answered(host: str, here: bool) -> None:
    """A site whose name points here is not the page."""
    assert is_here(host) is here


@pytest.fixture
def page(path: str) -> Iterator[int]:
    """The page's server, by its port."""
    server = page_server(TraceSource(path), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def ask(port: int, target: str, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, target, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    headers, body = {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return answer.status, headers, body


def test_the_page_and_its_data(page: int, traces: TraceApp) -> None:
    """Its files and the traces come with a policy that lets nothing else in."""
    add(traces, "aaaa")
    for target in ("/", "/trace.css", "/trace.js", "/icon.svg", "/traces", "/traces/aaaa"):
        status, headers, body = ask(page, target)
        assert (status, bool(body)) == (200, True)
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in headers
    assert json.loads(ask(page, "/traces?since=aaaa")[2]) == []


def test_the_page_refuses_the_rest(page: int) -> None:
    """Another host's name, other methods, other paths, ids that are none."""
    assert ask(page, "/traces", host="evil.test")[0] == 403
    assert ask(page, "/traces", "POST")[0] == 405
    for target in ("/x", "/static/trace.js", "/traces/..%2f..%2fmetrics", "/../page.py", "/traces/zzzz"):
        assert ask(page, target)[0] == 404


def test_the_page_says_when_the_server_is_gone(tmp_path: Path) -> None:
    """The page lives on, and its data say what to do."""
    server = page_server(TraceSource(str(tmp_path / "none")), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        status, _, body = ask(server.server_port, "/traces")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert status == 502
    assert "--trace-socket" in json.loads(body)["message"]
