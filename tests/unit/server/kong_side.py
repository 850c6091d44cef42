"""Kong's side of a ProtoBuf connection, as small as a test needs it, and engines that do what a test says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gevent.server import StreamServer
from gevent.socket import AF_UNIX, SOCK_STREAM, socket

from request_callout.engine.kong import Kong
from request_callout.pdk.protobuf import (
    FrameDecoder,
    HandleEvent,
    InstanceStatus,
    RpcCall,
    RpcReturn,
    StartInstance,
    decode_return,
    encode_call,
    frame,
    method,
)
from request_callout.server.instances import Instances
from request_callout.server.protobuf import ProtobufServer
from request_callout.server.sockets import ListeningSocket

INFO: dict[str, Any] = {
    "Name": "request-callout",
    "Phases": ["access"],
    "Priority": 812,
    "Version": "0.1.0",
    "Schema": {"name": "request-callout", "fields": []},
}

Called = tuple[str, tuple[Any, ...]]
Answers = Mapping[str, Any] | Callable[[str, tuple[Any, ...]], Any]


class Closed(Exception):
    """The server closed the connection."""


class KongSide:
    """One connection of Kong to a server; any socket will do."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.decoder = FrameDecoder()
        self.sequence = 0
        self.received: list[bytes] = []

    def frame(self) -> bytes:
        """The next frame. Raises Closed."""
        while (found := self.decoder.next_frame()) is None:
            try:
                data = self.sock.recv(1 << 20)
            except ConnectionError:
                data = b""
            if not data:
                raise Closed
            self.received.append(data)
            self.decoder.feed(data)
        return found

    def send(self, content: bytes) -> None:
        """Send one frame."""
        self.sock.sendall(frame(content))

    def command(self, call: RpcCall) -> RpcReturn:
        """Send a command that is answered at once."""
        self.send(encode_call(call))
        return decode_return(self.frame())

    def start(self, config: Any) -> int:
        """Start an instance and give its id."""
        self.sequence += 1
        content = config if isinstance(config, bytes) else json.dumps(config).encode()
        answer = self.command(StartInstance(self.sequence, "request-callout", content))
        assert isinstance(answer, InstanceStatus)
        assert answer.sequence == self.sequence
        return answer.instance_id

    def begin_event(self, instance_id: int, event_name: str = "access") -> None:
        """Send the command of an event."""
        self.sequence += 1
        self.send(encode_call(HandleEvent(self.sequence, instance_id, event_name)))

    def calls(self, answers: Answers) -> Iterator[Called]:
        """The calls of the event, each answered after it was given; ends after the event's end or an exit."""
        while name := self.frame():
            called = method(name.decode())
            args = called.decode_args(self.frame())
            yield called.name, args
            if called.name == "kong.response.exit":
                self.sock.close()
                return
            value = answers(called.name, args) if callable(answers) else answers.get(called.name)
            self.send(called.encode_result(value))
        assert decode_return(self.frame()).sequence == self.sequence

    def event(self, instance_id: int, answers: Answers | None = None) -> list[Called]:
        """One whole event: the calls that were made."""
        self.begin_event(instance_id)
        return list(self.calls(answers or {}))


class ScriptedInstance:
    """An instance that handles requests by one function."""

    def __init__(self, access: Callable[[Kong], None]) -> None:
        self._access = access

    def access(self, kong: Kong) -> None:
        self._access(kong)


class ScriptedEngine:
    """An engine whose instances all do the same; ``configurations`` are those it was given."""

    def __init__(self, access: Callable[[Kong], None]) -> None:
        self.access = access
        self.configurations: list[Mapping[str, Any]] = []

    def instance(self, raw: Mapping[str, Any]) -> ScriptedInstance:
        self.configurations.append(raw)
        return ScriptedInstance(self.access)


@contextmanager
def serving(path: str, access: Callable[[Kong], None], **options: Any) -> Iterator[ProtobufServer]:
    """A ProtoBuf server in this process, listening at ``path``."""
    server = ProtobufServer(Instances(ScriptedEngine(access), "0.1.0"), INFO, **options)
    listening = ListeningSocket(path)
    acceptor = StreamServer(listening.socket, server.handle)
    acceptor.start()
    try:
        yield server
    finally:
        acceptor.stop()
        listening.close()


def connect(path: str) -> KongSide:
    """A connection to the server at ``path``."""
    sock = socket(AF_UNIX, SOCK_STREAM)
    sock.settimeout(20)
    sock.connect(path)
    return KongSide(sock)
