"""A server of the tests' own, for callees and upstreams: it answers as told and keeps what it got, byte for byte.

It is not one of the stand-ins of the demo: here repeated headers, their case, raw paths, broken answers and closed
connections matter.
"""

from __future__ import annotations

import http.client
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl

http.client._MAXHEADERS = 2000  # type: ignore[attr-defined]  # else a request has 100 at most

PATIENCE_S = 10.0
"""How long to wait for something that has to happen."""

BRIEFLY_S = 0.3
"""How long to wait for something that must not happen."""


@dataclass(frozen=True)
class Received:
    """One request as it arrived; ``connection`` is the number of the connection it came on."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at_s: float
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def parameters(self) -> list[tuple[str, str]]:
        return parse_qsl(self.query, keep_blank_values=True)

    @property
    def names(self) -> set[str]:
        """The header names in lower case."""
        return {name.lower() for name, _ in self.headers}

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What to answer.

    ``hold`` is called before anything is sent (to wait for something). ``raw`` replaces the whole answer, status line
    included, and closes the connection; ``drop`` closes it without a byte; ``hang_up`` closes it after the answer
    without announcing it.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    hold: Callable[[], object] | None = None
    raw: bytes | None = None
    drop: bool = False
    hang_up: bool = False


def reply_json(value: object, status: int = 200, **more: Any) -> Reply:
    headers = (("Content-Type", "application/json"), *more.pop("headers", ()))
    return Reply(status, json.dumps(value).encode(), headers, **more)


Answering = Callable[[Received], Reply]


@dataclass
class _Script:
    """The replies for one path, in turn; the last one is repeated."""

    replies: list[Reply | Answering] = field(default_factory=list)
    used: int = 0

    def next(self) -> Reply | Answering:
        reply = self.replies[min(self.used, len(self.replies) - 1)]
        self.used += 1
        return reply


class Callee:
    """A server on a free port of the loopback interface, running until ``close``."""

    def __init__(self, default: Reply, tls: ssl.SSLContext | None = None) -> None:
        self._default = default
        self._scripts: dict[str, _Script] = {}
        self._received: list[Received] = []
        self._changed = threading.Condition()
        self._connections = 0
        self._ended = 0
        self.closing = threading.Event()
        callee = self

        class Handler(_Handler):
            server_side = callee

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False
            request_queue_size = 256

            def shutdown_request(self, request: Any) -> None:
                super().shutdown_request(request)
                callee._disconnected()

            def handle_error(self, request: object, client_address: object) -> None:
                """A peer that went away is part of what is tested."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def on(self, path: str, *replies: Reply | Answering) -> None:
        """Answer requests to ``path`` (without the query) with these replies in turn."""
        self._scripts[path] = _Script(list(replies))

    def received(self, path: str | None = None) -> list[Received]:
        with self._changed:
            return [request for request in self._received if path is None or request.path == path]

    def one(self, path: str | None = None) -> Received:
        """The only request that arrived."""
        requests = self.received(path)
        assert len(requests) == 1, f"{len(requests)} requests to {path or 'any path'}: {requests}"
        return requests[0]

    def arrived(self, path: str, times: int = 1, within_s: float = PATIENCE_S) -> bool:
        """Wait until ``path`` was requested this often; False if that does not happen in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: sum(request.path == path for request in self._received) >= times, within_s
            )

    def closed(self, connections: int, within_s: float = PATIENCE_S) -> bool:
        """Wait until this many connections have been closed from here; False if that does not happen in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended >= connections, within_s)

    def _take(self, request: Received) -> Reply:
        with self._changed:
            self._received.append(request)
            script = self._scripts.get(request.path)
            reply = script.next() if script else self._default
            self._changed.notify_all()
        return reply(request) if callable(reply) else reply

    def _connected(self) -> int:
        with self._changed:
            self._connections += 1
            return self._connections

    def _disconnected(self) -> None:
        with self._changed:
            self._ended += 1
            self._changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "callee"
    server_side: Callee
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._number = self.server_side._connected()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        request = Received(
            self.command, self.path, tuple(self.headers.items()), self._body(), time.monotonic(), self._number
        )
        if self.server_side.closing.is_set():
            self.close_connection = True
            return
        self._send(request, self.server_side._take(request))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _send(self, request: Received, reply: Reply) -> None:
        if reply.hold is not None:
            reply.hold()
        if reply.drop or reply.raw is not None:
            self.wfile.write(reply.raw or b"")
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        has_body = reply.status >= 200 and reply.status not in (204, 304)
        if has_body and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in reply.headers):
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if has_body and request.method != "HEAD":
            self.wfile.write(reply.body)
        if reply.hang_up:
            self.close_connection = True
