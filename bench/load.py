"""Kong's side of a plugin server under load: so many events over so many connections, each as soon as the last ended.

What goes over the wire is what Kong sends: one command an event, and one write for the reply to each call of the PDK.
"""

from __future__ import annotations

import json
import select
import socket
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgpack

from bench.processes import Measured
from request_callout.pdk.protobuf import (
    FrameDecoder,
    HandleEvent,
    InstanceStatus,
    StartInstance,
    decode_return,
    encode_call,
    frame,
    method,
)

Results = Mapping[str, Any]
"""What Kong answers to calls that read something, by method; all others have no result."""


class Connection(Protocol):
    """One connection of Kong."""

    sock: socket.socket
    exited: bool
    """Whether the last event ended in an exit: ``sock`` is a new one then."""

    def start(self, config: Mapping[str, Any]) -> int:
        """Start an instance and give its id."""

    def begin(self, instance: int) -> None:
        """Send the command of an event."""

    def advance(self) -> bool:
        """Take what arrived and answer it; gives whether the event ended."""


class ProtobufConnection:
    """On ProtoBuf:1."""

    def __init__(self, path: str, results: Results) -> None:
        self._path = path
        self.exited = False
        self._replies = {
            name.encode(): frame(method(name).encode_result(value)) if value is not None else frame(b"")
            for name, value in results.items()
        }
        self._connect()

    def _connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)
        self._decoder = FrameDecoder()
        self._name: bytes | None = None
        self._ends = False

    def start(self, config: Mapping[str, Any]) -> int:
        self.sock.sendall(frame(encode_call(StartInstance(1, "request-callout", json.dumps(config).encode()))))
        answer = decode_return(self._frame())
        assert isinstance(answer, InstanceStatus)
        return answer.instance_id

    def _frame(self) -> bytes:
        while (found := self._decoder.next_frame()) is None:
            self._decoder.feed(self.sock.recv(1 << 20))
        return found

    def begin(self, instance: int) -> None:
        self.exited = False
        self.sock.sendall(frame(encode_call(HandleEvent(2, instance, "access"))))

    def advance(self) -> bool:
        data = self.sock.recv(1 << 20)
        if not data:
            raise RuntimeError("the server closed the connection")
        self._decoder.feed(data)
        while (content := self._decoder.next_frame()) is not None:
            if self._ends:
                self._ends = False
                return True
            if self._name is None:
                if content:
                    self._name = content
                else:
                    self._ends = True
                continue
            name, self._name = self._name, None
            if name == b"kong.response.exit":
                self.sock.close()
                self._connect()
                self.exited = True
                return True
            self.sock.sendall(self._replies.get(name, b"\0\0\0\0"))
        return False


class MsgPackConnection:
    """On MsgPack:1."""

    def __init__(self, path: str, results: Results) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.exited = False
        self._unpacker = msgpack.Unpacker()
        self._results = results
        self._number = 0

    def _call(self, name: str, argument: Any) -> None:
        self._number += 1
        self.sock.sendall(msgpack.packb([0, self._number, name, [argument]]))

    def start(self, config: Mapping[str, Any]) -> int:
        self._call("plugin.StartInstance", {"Name": "naive", "Config": json.dumps(config)})
        while True:
            self._unpacker.feed(self.sock.recv(1 << 16))
            for _, _, error, result in self._unpacker:
                assert error is None, error
                return int(result["Id"])

    def begin(self, instance: int) -> None:
        self._call("plugin.HandleEvent", {"InstanceId": instance, "EventName": "access"})

    def advance(self) -> bool:
        data = self.sock.recv(1 << 16)
        if not data:
            raise RuntimeError("the server closed the connection")
        self._unpacker.feed(data)
        for _, _, error, result in self._unpacker:
            if error is not None:
                raise RuntimeError(str(error))
            if result["Data"] == "ret":
                return True
            value = self._results.get(result["Data"]["Method"])
            self._call("plugin.Step", {"EventId": result["EventId"], "Data": value})
        return False


@dataclass(frozen=True)
class Load:
    """What one run showed; times in microseconds."""

    events_per_s: float
    cpu_us: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Event:
    """When an event began, a moment of ``time.perf_counter()``, and how long it took, in seconds."""

    began_s: float
    took_s: float


class Driver:
    """Connections of Kong to one server, kept from run to run; ``instances`` are used in turn."""

    def __init__(
        self,
        server: Measured,
        configs: list[Mapping[str, Any]],
        connections: int,
        results: Results | None = None,
        kind: Callable[[str, Results], Connection] = ProtobufConnection,
    ) -> None:
        self._server = server
        self._connections = [kind(server.address, results or {}) for _ in range(connections)]
        self._instances = [self._connections[0].start(config) for config in configs]

    def run(self, events: int) -> Load:
        """So many events; raises RuntimeError if the server gives up or nothing moves for a minute."""
        cpu, started = self._server.cpu_s(), time.perf_counter()
        times = [event.took_s for event in self.events(range(events, 0, -1))]
        took = time.perf_counter() - started
        cpu = self._server.cpu_s() - cpu
        quantiles = statistics.quantiles(times, n=100, method="inclusive")
        return Load(events / took, cpu / events * 1e6, quantiles[49] * 1e6, quantiles[98] * 1e6)

    def events(self, numbers: Iterable[int]) -> Iterator[Event]:
        """An event for each number, which chooses its instance; raises as ``run``."""
        instances = self._instances
        upcoming = iter(numbers)
        poll = select.epoll()
        by_descriptor: dict[int, tuple[Connection, float]] = {}

        def begin(connection: Connection) -> bool:
            number = next(upcoming, None)
            if number is None:
                return False
            by_descriptor[connection.sock.fileno()] = (connection, time.perf_counter())
            connection.begin(instances[number % len(instances)])
            return True

        try:
            for connection in self._connections:
                if begin(connection):
                    poll.register(connection.sock.fileno(), select.EPOLLIN)
            while by_descriptor:
                ready = poll.poll(60)
                if not ready:
                    raise RuntimeError("nothing moved for a minute")
                for descriptor, _ in ready:
                    connection, began = by_descriptor[descriptor]
                    if not connection.advance():
                        continue
                    yield Event(began, time.perf_counter() - began)
                    del by_descriptor[descriptor]
                    exited = connection.exited
                    if begin(connection) and exited:  # a closed descriptor has left the poll by itself
                        poll.register(connection.sock.fileno(), select.EPOLLIN)
        finally:
            poll.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.sock.close()


def median(loads: list[Load]) -> Load:
    """The median of each figure."""
    return Load(
        *(
            statistics.median(getattr(load, name) for load in loads)
            for name in ("events_per_s", "cpu_us", "p50_us", "p99_us")
        )
    )
