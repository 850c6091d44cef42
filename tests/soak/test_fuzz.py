"""Damaged frames against a running server: it does not end, nothing hangs, other connections are served.

``FUZZ_FRAMES`` in the environment is how many frames are sent on each protocol (2,500 unless set; 500,000 make a
million). Each connection must be closed by the server when this side has said all, and afterwards the server must hold
no more than before.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import gevent
import msgpack
import pytest
from gevent.socket import AF_UNIX, SHUT_WR, SOCK_STREAM, socket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from request_callout.pdk.protobuf import (
    CloseInstance,
    GetInstanceStatus,
    GetPluginInfo,
    GetPluginNames,
    HandleEvent,
    RawBody,
    RpcCall,
    encode_call,
    frame,
    method,
)
from tests.soak.callee import callee
from tests.soak.mutation import KINDS, TELLING, Change, changed, random_changes
from tests.soak.test_soak import ANSWERS, OWN_GREENLETS, connect, settled
from tests.soak.watched_server import Watched, watched_server
from tests.unit.pdk.recorded import frames, stream
from tests.unit.server.test_msgpack import KongSide

FRAMES = int(os.environ.get("FUZZ_FRAMES", "2500"))
EXAMPLES = min(1000, FRAMES // 25)
ROUND = 500
STEP_TIMEOUT_S = 0.5

SCRIPT = """
local request, callout = kong.request, kong.ctx.shared.callouts.c
local seen = {request.get_path(), request.get_method(), request.get_header("x-id"), request.get_query(),
  kong.client.get_consumer(), kong.router.get_route(), kong.client.get_ip(), kong.ctx.shared.other}
callout.request.params.query = {seen = tostring(#seen)}
"""
Piece = tuple[int, Sequence[Change]]
"""Which frame (of four, three are what belongs at this place), and what is done to it."""


def configurations(url: str) -> list[dict[str, Any]]:
    request = {
        "url": f"{url}/$(query_params.a)",
        "headers": {"forward": True, "custom": {"X": "$(headers.accept)"}},
        "query": {"forward": True},
        "body": {"forward": True},
    }
    response = {"headers": {"store": True}, "body": {"store": True, "decode": True}}
    upstream = {"headers": {"forward": True, "custom": {"X-Token": "$(callouts.c.response.body.token)"}}}
    exit_ = {"by_lua": "kong.response.exit(403, kong.request.get_raw_body())"}
    plain = {"name": "c", "request": request, "response": response}
    scripted = {"name": "c", "request": {**request, "by_lua": SCRIPT}, "response": response}
    return [
        {"callouts": [plain], "upstream": upstream},
        {"callouts": [scripted], "upstream": {**upstream, **exit_}},
        {"callouts": [], "upstream": {"headers": {"custom": {"X-Token": "t-4711"}}}},
    ]


class Target:
    """A running server, one good connection to it, and what is sent on the others."""

    def __init__(self, protocol: str, server: Watched, url: str) -> None:
        self.protocol = protocol
        self.server = server
        self.kong = connect(protocol, server.path)
        self.ids = [self.kong.start(configuration) for configuration in configurations(url)]
        self.pieces = self._protobuf_pieces() if protocol == "protobuf" else self._msgpack_pieces()
        self.replies = [self._replies(instance_id) for instance_id in self.ids]
        self.sent = 0

    def check(self) -> None:
        """The good connection is served: the same event as ever."""
        assert self.server.process.poll() is None, "the server has ended"
        calls = self.kong.event(self.ids[2], ANSWERS)
        assert ("kong.service.request.set_header", ("X-Token", "t-4711")) in calls

    def converse(self, event: int, damaged_start: bool, pieces: Sequence[Piece]) -> None:
        """Send these over a connection of their own, and wait until the server closes it."""
        replies = self.replies[event]
        data = b""
        for position, (at, changes) in enumerate(pieces):
            right = at % 4 and position < len(replies)
            data += changed(replies[position] if right else self.pieces[at % len(self.pieces)], changes)
        instance_id = self.ids[event]
        with contextlib.closing(socket(AF_UNIX, SOCK_STREAM)) as sock:
            sock.settimeout(20)
            sock.connect(self.server.path)
            if not damaged_start:
                data = self._begin(sock, instance_id, data)
            with contextlib.suppress(ConnectionError):
                sock.sendall(data)
                sock.shutdown(SHUT_WR)
                while sock.recv(65536):
                    pass
        self.sent += len(pieces)

    def _begin(self, sock: socket, instance_id: int, data: bytes) -> bytes:
        """Begin an event that the data then goes on with; gives the data to send."""
        if self.protocol == "protobuf":
            return frame(encode_call(HandleEvent(1, instance_id, "access"))) + data
        kong = KongSide.__new__(KongSide)
        kong.sock, kong.number = sock, 0
        kong.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        begun = kong.call("plugin.HandleEvent", {"InstanceId": instance_id, "EventName": "access"})
        return data.replace(EVENT_ID, msgpack.packb(begun["EventId"]))

    def _replies(self, instance_id: int) -> list[bytes]:
        """What Kong says in a whole event of this instance."""
        said: list[bytes] = []

        def answer(name: str, args: tuple[Any, ...]) -> Any:
            value: Any = ANSWERS.get(name)
            if name == "kong.request.get_raw_body":
                value = RawBody(b'{"k":[1]}') if self.protocol == "protobuf" else b'{"k":[1]}'
            if self.protocol == "protobuf":
                said.append(frame(method(name).encode_result(value)))
                return value
            if name == "kong.request.get_headers":
                value = {"accept": ["*/*"], "x-id": ["1", "2"]}
            step = [0, 1, "plugin.Step", [{"EventId": msgpack.ExtType(5, b"id"), "Data": value}]]
            said.append(msgpack.packb(step))
            return value

        kong = connect(self.protocol, self.server.path)
        calls = kong.event(instance_id, answer)
        kong.sock.close()
        exits = [args[0] for name, args in calls if name == "kong.response.exit"]
        assert exits in ([], [403]), "the configurations for this test work"
        return said

    def _protobuf_pieces(self) -> list[bytes]:
        commands: list[RpcCall] = [
            *(GetPluginNames(1), GetPluginInfo(2, "request-callout"), GetPluginInfo(3, "other")),
            *(GetInstanceStatus(4, self.ids[0]), CloseInstance(5, self.ids[0]), CloseInstance(6, 1)),
            *(HandleEvent(7, one, "access") for one in self.ids),
        ]
        recorded = [one for connection in (1, 2) for one in frames(connection, "kong")]
        return [frame(one) for one in recorded + [encode_call(command) for command in commands]]

    def _msgpack_pieces(self) -> list[bytes]:
        unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)
        unpacker.feed(stream("msgpack.raw.jsonl", 1, "kong") + stream("msgpack.raw.jsonl", 2, "kong"))
        messages = list(unpacker)
        messages += [[0, 1, b"plugin.HandleEvent", [{"InstanceId": one, "EventName": "access"}]] for one in self.ids]
        messages.append([0, 1, b"plugin.CloseInstance", [self.ids[0]]])
        for message in messages:
            if message[2].startswith(b"plugin.Step"):
                message[3][0][b"EventId"] = msgpack.ExtType(5, b"id")
        return [msgpack.packb(message, use_bin_type=False) for message in messages]


EVENT_ID: bytes = msgpack.packb(msgpack.ExtType(5, b"id"))
"""Stands in recorded steps for the id of the event that is to get them."""


@pytest.fixture(scope="module", params=["protobuf", "msgpack"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    protocol: str = request.param
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with callee() as url, watched_server(protocol, folder, STEP_TIMEOUT_S) as server:
        yield Target(protocol, server, url)


CHANGES = st.builds(
    Change,
    st.sampled_from(KINDS),
    st.floats(0, 1, exclude_max=True),
    st.one_of(st.sampled_from(TELLING), st.binary(min_size=1, max_size=16)),
)
PIECES = st.lists(st.tuples(st.integers(0, 1000), st.lists(CHANGES, max_size=4)), min_size=1, max_size=10)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(event=st.integers(0, 2), damaged_start=st.booleans(), pieces=PIECES)
def test_any_damage_is_survived(target: Target, event: int, damaged_start: bool, pieces: list[Piece]) -> None:
    """Whatever is sent, that connection is closed in the end, and another is served."""
    target.converse(event, damaged_start, pieces)
    target.check()


@pytest.mark.timeout(max(120, FRAMES // 200))
def test_much_damage_is_survived(target: Target) -> None:
    """After very many damaged conversations, some at a time, the server holds what it held before."""
    start = target.server.held()
    random = Random(20240611)
    sent = target.sent

    def some() -> None:
        for _ in range(25):
            pieces = [(random.randrange(1000), random_changes(random)) for _ in range(random.randrange(1, 10))]
            target.converse(random.randrange(3), random.random() < 0.2, pieces)

    while target.sent - sent < FRAMES:
        gevent.joinall([gevent.spawn(some) for _ in range(4)], raise_error=True)
        target.check()
    gevent.sleep(STEP_TIMEOUT_S)  # events on MsgPack wait so long for steps that never come
    end = settled(target.server, OWN_GREENLETS + 1)
    if "FUZZ_FRAMES" in os.environ:
        print(f"\n{target.protocol}: {target.sent} frames\n{start}\n{end}")
    assert end.greenlets <= OWN_GREENLETS + 1, "the good connection is left"
    assert end.descriptors <= start.descriptors + 16
    kinds = ("ProtobufKong", "MsgPackKong", "Run")
    assert {kind: end.of_events.get(kind, 0) for kind in kinds} == dict.fromkeys(kinds, 0)
