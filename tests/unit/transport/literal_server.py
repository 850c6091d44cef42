"""Real servers that speak literal bytes, and what the tests ask of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event
from gevent.server import StreamServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """The server's side of one connection."""

    def __init__(self, server: LiteralServer, sock: Any, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self._unread = b""

    def request(self) -> bytes | None:
        """The next request, head and body (Content-Length only), recorded; None at the end of the stream."""
        while b"\r\n\r\n" not in self._unread:
            if not self._more():
                return None
        size = self._unread.index(b"\r\n\r\n") + 4
        for line in self._unread[:size].split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size += int(value)
        while len(self._unread) < size:
            if not self._more():
                return None
        request, self._unread = self._unread[:size], self._unread[size:]
        self.server.requests.append(request)
        return request

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except OSError:
            return False
        self._unread += data
        return bool(data)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def wait_for_end(self) -> None:
        """Read on until the client closes."""
        while self._more():
            pass


class LiteralServer:
    """Runs ``handle`` for each connection and closes it after; counts connections and keeps the requests.

    ``closed`` is set each time a connection was closed by the server, after ``handle``.
    """

    def __init__(self, handle: Callable[[Peer], None], context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended = 0
        self.closed = Event()
        self._handle = handle
        self._context = context
        self._server = StreamServer(("127.0.0.1", port), self._serve)
        self._server.start()
        self.port = int(self._server.server_port or 0)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self._context is not None else 'http'}://{host}:{self.port}{path}"

    def _serve(self, sock: Any, _: Any) -> None:
        self.connections += 1
        number = self.connections
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            self._handle(Peer(self, sock, number))
        except OSError:
            pass
        finally:
            sock.close()
            self.ended += 1
            self.closed.set()

    def wait_for_ends(self, count: int | None = None) -> None:
        """Wait until so many connections, by default all, have ended."""
        with gevent.Timeout(10):
            while self.ended < (self.connections if count is None else count):
                self.closed.clear()
                self.closed.wait()

    def stop(self) -> None:
        self._server.stop(timeout=0)


def answering(*answers: bytes) -> Callable[[Peer], None]:
    """A handler that gives these answers in turn on each connection, the last one again and again."""

    def handle(peer: Peer) -> None:
        turn = 0
        while peer.request() is not None:
            peer.send(answers[min(turn, len(answers) - 1)])
            turn += 1

    return handle


def answering_once(answer: bytes) -> Callable[[Peer], None]:
    """A handler that answers one request and closes."""

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(answer)

    return handle
