"""The reporter as a process: where it answers, what it survives, and who takes its place."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from request_callout.server.addresses import Address, Listener, parse_address
from request_callout.server.answering import MOST_CONNECTIONS
from request_callout.server.reports import Reports
from request_callout.server.sockets import SocketError
from tests.failures.scrape import Scrape, get
from tests.failures.stage import children, until
from tests.unit.server.processes import Process, Start
from tests.unit.server.test_supervisor import wait_for_end


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9542", Address("127.0.0.1", 9542)),
        ("[::1]:0", Address("::1", 0)),
        ("localhost:1", Address("localhost", 1)),
        ("unix:/run/m.sock", Address(path="/run/m.sock")),
    ],
)
def test_an_address_is_a_host_and_port_or_a_path(text: str, address: Address) -> None:
    """What is written for an address, and how it is shown again."""
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "9542", ":9542", "h:", "h:x", "h:70000", "::1:9542", "unix:", "/run/m.sock"])
def test_anything_else_is_no_address(text: str) -> None:
    """What is no address is refused with an example of one."""
    with pytest.raises(ValueError, match="such as"):
        parse_address(text)


def serve(start: Start, path: Path, metrics: str, *options: str) -> tuple[Process, str]:
    """A server that listens, and where its metrics are."""
    process = start("request_callout", "serve", "--socket", str(path), "--metrics", metrics, *options)
    process.wait_for("listening on")
    return process, process.log.partition("metrics at ")[2].split()[0].rstrip('"}')


def reporter_of(process: Process, address: str) -> int:
    """The process that answers: the last that the supervisor has started."""
    get(address, "/healthz")
    return children(process.process.pid)[-1]


def test_a_reporter_that_is_killed_is_replaced(start: Start, tmp_path: Path) -> None:
    """Another answers at the same address, with what was counted, and no worker is restarted for it."""
    process, address = serve(start, tmp_path / "kong.sock", "127.0.0.1:0")
    before = reporter_of(process, address)
    os.kill(before, signal.SIGKILL)
    wait_for_end(before)
    assert Scrape(address).sum("workers") == 1
    assert reporter_of(process, address) != before
    assert Scrape(address).sum("worker_restarts_total") == 0


def test_a_socket_of_the_reporter_that_somebody_removed_is_made_anew(start: Start, tmp_path: Path) -> None:
    """Another reporter answers at the same path, with the same permissions; no worker is restarted for it."""
    path = tmp_path / "metrics.sock"
    process, address = serve(start, tmp_path / "kong.sock", f"unix:{path}")
    assert Scrape(address).sum("workers") == 1
    path.unlink()
    process.wait_for(f"somebody removed the socket {path}; it is there again")
    found = Scrape(address)
    assert (found.sum("workers"), found.sum("worker_restarts_total")) == (1, 0)
    assert path.stat().st_mode & 0o777 == 0o600
    process.signal(signal.SIGTERM)
    assert process.end() == 0
    assert not path.exists()


def test_a_reporter_ends_with_its_supervisor(start: Start, tmp_path: Path) -> None:
    """SIGKILL of the supervisor ends the reporter: nobody answers for a server that is gone."""
    process, address = serve(start, tmp_path / "kong.sock", "127.0.0.1:0")
    reporter = reporter_of(process, address)
    process.signal(signal.SIGKILL)
    wait_for_end(reporter)
    with pytest.raises(ConnectionRefusedError):
        get(address)


def test_a_taken_port_is_an_error_at_the_start(start: Start, tmp_path: Path) -> None:
    """The error names the option and the address; what listens there is left alone, and so is Kong's path."""
    _, address = serve(start, tmp_path / "kong.sock", "127.0.0.1:0")
    other = start("request_callout", "serve", "--socket", str(tmp_path / "other.sock"), "--metrics", address)
    assert other.end() == 1
    assert f"--metrics: can't listen on {address}" in other.log
    assert "Traceback" not in other.log
    assert list(tmp_path.glob(".*")) == []
    assert Scrape(address).sum("workers") == 1


@pytest.mark.parametrize("metrics", ["127.0.0.1:0", "unix"])
def test_a_server_that_replaces_another_takes_its_address(start: Start, tmp_path: Path, metrics: str) -> None:
    """With --replace the new server answers at the same address, and soon it alone, though the old one still runs."""
    given = f"unix:{tmp_path / 'metrics.sock'}" if metrics == "unix" else metrics
    old, address = serve(start, tmp_path / "kong.sock", given, "--workers", "2")
    _, taken = serve(start, tmp_path / "kong.sock", address, "--replace")
    assert taken == address
    until(lambda: len(children(old.process.pid)) == 2, "the old server's reporter has ended")
    assert {Scrape(address).sum("workers_wanted") for _ in range(20)} == {1.0}
    old.signal(signal.SIGTERM)
    assert old.end() == 0
    assert Scrape(address).sum("workers_wanted") == 1


def test_clients_that_sit_there_keep_nobody_from_an_answer(start: Start, tmp_path: Path) -> None:
    """Whoever comes after more connections than are kept, none of which asks, or ends its request, is answered."""
    _, address = serve(start, tmp_path / "kong.sock", "127.0.0.1:0")
    get(address)
    host, _, port = address.partition(":")
    silent = [socket.create_connection((host, int(port)), 20) for _ in range(2 * MOST_CONNECTIONS)]
    for one in silent[::2]:
        one.sendall(b"GET /metrics HTTP/1.1\r\nA")
    assert get(address, "/healthz").status == 200
    assert silent[0].recv(1) == b""
    silent[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert silent[-1].recv(12) == b"HTTP/1.1 200"
    for one in silent:
        one.close()


@pytest.mark.parametrize("format_", ["text", "json"])
def test_what_clients_do_wrong_is_not_in_the_log(start: Start, tmp_path: Path, format_: str) -> None:
    """What is no HTTP, or too much of it, is answered with 400, and nobody can fill the log with it."""
    process, address = serve(start, tmp_path / "kong.sock", "127.0.0.1:0", "--log-format", format_)
    host, _, port = address.partition(":")
    wrong = [b"\0\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n"]
    for request in wrong:
        with socket.create_connection((host, int(port)), 20) as client:
            client.sendall(request)
            assert client.recv(12) == b"HTTP/1.1 400"
    for request in wrong * 5:
        with socket.create_connection((host, int(port)), 20) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # goes without waiting
            client.sendall(request)
    process.signal(signal.SIGTERM)
    assert process.end() == 0
    assert len(process.log.splitlines()) == 4
    assert "Traceback" not in process.log


def test_without_metrics_there_is_no_reporter(start: Start, tmp_path: Path) -> None:
    """A server that nobody asks has its workers and nothing else."""
    process = start("request_callout", "serve", "--socket", str(tmp_path / "kong.sock"))
    process.wait_for("listening on")
    assert len(children(process.process.pid)) == 1


class Ring:
    """Keeps all records."""

    def add(self, record: bytes) -> None:
        """Keep one."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer nothing."""
        return ()


def test_records_are_handed_over_without_waiting(tmp_path: Path) -> None:
    """More records than a queue of ten come through in order; one that finds no room is lost and counted."""
    reports = Reports(Address("127.0.0.1", 0), Address(path=str(tmp_path / "traces.sock")), ring=Ring)
    try:
        sent = 0
        while reports.emit(b"record %d" % sent):
            sent += 1
        assert sent > 50
        assert reports.dropped == 1
        assert reports.receiving is not None
        assert [reports.receiving.recv(100) for _ in range(3)] == [b"record 0", b"record 1", b"record 2"]
        while sent > 3:
            reports.receiving.recv(100)
            sent -= 1
        assert reports.emit(b"x" * 150_000)
        assert not reports.emit(b"x" * (64 << 20))
        assert reports.dropped == 2
        assert reports.receiving.recv(1 << 20) == b"x" * 150_000
    finally:
        reports.close()


def test_nobody_listens_before_it_is_published(tmp_path: Path) -> None:
    """An address is bound at once, and answers from ``publish`` on."""
    listener = Listener(Address("127.0.0.1", 0))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.address.port), 5)
    listener.publish()
    socket.create_connection(("127.0.0.1", listener.address.port), 5).close()
    listener.close()


def test_a_host_that_is_not_here_is_refused() -> None:
    """An address of another machine can't be listened on; the error says which."""
    with pytest.raises(SocketError, match=r"203\.0\.113\.1:9542: .*: this machine has no such address"):
        Listener(Address("203.0.113.1", 9542))
