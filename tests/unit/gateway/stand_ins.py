"""Real servers on loopback that the gateway's tests talk to: upstreams and plugin servers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgpack

from request_callout.pdk.protobuf import (
    END_OF_CALLS,
    METHODS,
    CloseInstance,
    Done,
    FrameDecoder,
    HandleEvent,
    InstanceStatus,
    StartInstance,
    decode_call,
    encode_return,
    frame,
)


@dataclass
class Received:
    """A request as an upstream got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for one, value in self.headers if one.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)


@dataclass
class Upstream:
    """An HTTP server that keeps what it gets, and answers with ``answer`` (status, header fields, body)."""

    requests: list[Received] = field(default_factory=list)
    answer: tuple[int, list[tuple[str, str]], bytes] = (200, [("Content-Type", "text/plain")], b"upstream")
    handler: Callable[[BaseHTTPRequestHandler], None] | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def upstream() -> Iterator[Upstream]:
    """An upstream on a free port."""
    known = Upstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
                body = self._chunks()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known.requests.append(Received(self.command, self.path, list(self.headers.items()), body))
            if known.handler is not None:
                known.handler(self)
                return
            status, headers, content = known.answer
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = answer  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()


class Closed(Exception):
    """The gateway closed the connection, or the script wants it closed."""


Script = Callable[["Kong"], None]


class Kong:
    """The PDK as a plugin server's script sees it: one call, one answer."""

    def __init__(self, talk: Callable[[str, tuple[Any, ...]], Any], config: dict[str, Any]) -> None:
        self._talk = talk
        self.config = config

    def send(self, method: str, argument: bytes) -> Any:
        """A call whose argument message is encoded already."""
        return self._talk(method, (argument,))

    def __call__(self, method: str, *args: Any) -> Any:
        return self._talk(f"kong.{method}", args)


@dataclass
class PluginServer:
    """A plugin server that runs ``script`` for each event, and keeps account of its instances."""

    script: Script
    path: str = ""
    configs: list[dict[str, Any]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    connections: int = 0
    first_id: int = 1
    refuse_start: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start_instance(self, config: bytes | str) -> int:
        with self.lock:
            self.configs.append(json.loads(config))
            return self.first_id + len(self.configs) - 1

    def config_of(self, instance_id: int) -> dict[str, Any]:
        return self.configs[instance_id - self.first_id]


@contextlib.contextmanager
def plugin_server(script: Script, *, protocol: str = "protobuf") -> Iterator[PluginServer]:
    """A plugin server on a socket of its own."""
    known = PluginServer(script)
    serve = _serve_protobuf if protocol == "protobuf" else _serve_msgpack
    with tempfile.TemporaryDirectory() as folder:
        known.path = os.path.join(folder, "s")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(known.path)
        listener.listen(64)
        open_connections: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                open_connections.append(connection)
                known.connections += 1
                threading.Thread(target=_until_closed, args=(serve, connection, known), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield known
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            for connection in open_connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _until_closed(
    serve: Callable[[socket.socket, PluginServer], None], connection: socket.socket, known: PluginServer
) -> None:
    with contextlib.suppress(Closed, OSError):
        serve(connection, known)
    connection.close()


def _serve_protobuf(connection: socket.socket, known: PluginServer) -> None:
    frames = FrameDecoder()

    def read() -> bytes:
        while (content := frames.next_frame()) is None:
            data = connection.recv(65536)
            if not data:
                raise Closed
            frames.feed(data)
        return content

    def talk(method: str, args: tuple[Any, ...]) -> Any:
        known_method = METHODS.get(method)
        if known_method is None:
            connection.sendall(frame(method.encode()) + frame(b""))
            return read()
        if len(args) == 1 and isinstance(args[0], bytes) and known_method.argument.name == "KV":
            connection.sendall(known_method.name_frame + frame(args[0]))
        else:
            connection.sendall(known_method.encode_call(args))
        return known_method.decode_result(read())

    while True:
        call = decode_call(read())
        if isinstance(call, StartInstance):
            number = known.start_instance(call.config)
            if known.refuse_start:
                connection.sendall(frame(encode_return(Done(call.sequence))))
                continue
            answer = InstanceStatus(call.sequence, call.name, number, 1, None)
            connection.sendall(frame(encode_return(answer)))
        elif isinstance(call, CloseInstance):
            known.closed.append(call.instance_id)
            connection.sendall(frame(encode_return(Done(call.sequence))))
        elif isinstance(call, HandleEvent):
            known.events.append(call.instance_id)
            known.script(Kong(talk, known.config_of(call.instance_id)))
            connection.sendall(END_OF_CALLS + frame(encode_return(Done(call.sequence))))


def _serve_msgpack(connection: socket.socket, known: PluginServer) -> None:
    """One connection of the msgpack protocol; the steps of an event come in order over whichever connection."""
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)

    def read() -> list[Any]:
        while True:
            for message in unpacker:
                return list(message)
            data = connection.recv(65536)
            if not data:
                raise Closed
            unpacker.feed(data)

    def answer(number: int, result: Any, error: str | None = None) -> None:
        connection.sendall(msgpack.packb([1, number, error, result]))

    pending = [0]

    def talk(method: str, args: tuple[Any, ...]) -> Any:
        answer(pending[0], {"EventId": 7, "Data": {"Method": method, "Args": list(args)}})
        _, number, step, (argument,) = read()
        pending[0] = number
        steps.append(step)
        return argument.get("Data")

    steps: list[str] = []
    while True:
        _, number, method, (argument,) = read()
        pending[0] = number
        if method == "plugin.StartInstance":
            answer(number, {"Id": known.start_instance(argument["Config"]), "Name": argument["Name"]})
        elif method == "plugin.CloseInstance":
            known.closed.append(argument)
            answer(number, {"Id": argument})
        elif method == "plugin.HandleEvent":
            known.events.append(argument["InstanceId"])
            try:
                known.script(Kong(talk, known.config_of(argument["InstanceId"])))
            except RuntimeError as error:
                answer(pending[0], None, str(error))
            else:
                answer(pending[0], {"EventId": 7, "Data": "ret"})
