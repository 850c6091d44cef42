"""Accepting connections in a worker."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from gevent.socket import AF_UNIX, SOCK_STREAM, socket

from request_callout.server.acceptor import Acceptor
from request_callout.server.loads import Loads
from request_callout.server.sockets import ListeningSocket


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


def connect(path: str) -> socket:
    sock = socket(AF_UNIX, SOCK_STREAM)
    sock.connect(path)
    return sock


def echo(sock: socket, _address: object) -> None:
    with sock:
        while data := sock.recv(100):
            sock.sendall(data)


def test_what_waits_at_the_end_is_still_accepted(path: str) -> None:
    """Connections that nobody has accepted when the acceptor is stopped are served; then nobody listens."""
    listening = ListeningSocket(path)
    acceptor = Acceptor(listening.socket, echo, 0, Loads(1))
    clients = [connect(path) for _ in range(50)]
    acceptor.stop()
    for client in clients:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        client.close()
    with pytest.raises(ConnectionRefusedError):
        connect(path)
    listening.close()


def test_a_worker_with_more_connections_lets_another_accept(path: str) -> None:
    """Of two that accept on one socket, the one with fewer connections gets the next, until both have as many."""
    listening = ListeningSocket(path)
    loads = Loads(2)
    served: list[int] = []
    changed = Event()

    def serve(place: int, sock: socket) -> None:
        served.append(place)
        changed.set()
        echo(sock, None)

    first = Acceptor(listening.socket, lambda sock, _: serve(0, sock), 0, loads)
    clients = []
    for number in range(4):
        clients.append(connect(path))
        while len(served) <= number:
            changed.wait()
            changed.clear()
    second = Acceptor(listening.socket.dup(), lambda sock, _: serve(1, sock), 1, loads)
    for number in range(4, 8):
        clients.append(connect(path))
        while len(served) <= number:
            changed.wait()
            changed.clear()
    assert served == [0, 0, 0, 0, 1, 1, 1, 1]
    for client in clients:
        client.close()
    first.stop()
    second.stop()
    listening.close()


def test_a_lack_of_descriptors_is_survived(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When a connection can't be accepted the log says why, and it is accepted when that is possible again."""
    monkeypatch.setattr("request_callout.server.acceptor._PAUSE_S", 0.001)
    listening = ListeningSocket(path)
    failures = iter([OSError(24, "Too many open files")] * 3)

    class Scarce:
        def __getattr__(self, name: str) -> object:
            return getattr(listening.socket, name)

        def accept(self) -> object:
            for failure in failures:
                raise failure
            return listening.socket.accept()

    acceptor = Acceptor(Scarce(), echo, 0, Loads(1))  # type: ignore[arg-type]
    client = connect(path)
    client.sendall(b"hello")
    with gevent.Timeout(20):
        assert client.recv(100) == b"hello"
    assert caplog.text.count("can't accept connections: Too many open files: raise the hard limit of open files") == 1
    client.close()
    acceptor.stop()
    listening.close()
