"""Bytes that no Kong sends: each hurts its own connection only."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from pathlib import Path

import gevent
import pytest

from request_callout.engine.kong import Kong
from request_callout.pdk.protobuf import (
    CloseInstance,
    GetInstanceStatus,
    GetPluginInfo,
    HandleEvent,
    RawBody,
    StartInstance,
    encode_call,
    method,
)
from request_callout.pdk.protobuf.wire import delimited
from tests.unit.server.kong_side import Closed, KongSide, connect, serving

ANSWERS = {
    "kong.request.get_headers": {"host": "a", "x": ["1", "2"]},
    "kong.request.get_query": {"a": True, "b": "c"},
    "kong.request.get_raw_body": RawBody(content=b"x"),
    "kong.router.get_route": {"id": "r"},
    "kong.request.get_uri_captures": {"unnamed": ["a"], "named": {"b": "c"}},
}


def read_all(kong: Kong) -> None:
    kong.read([(name, ()) for name in ANSWERS])
    kong.write("kong.service.request.set_header", "X-Read", "yes")


def mutated(data: bytes, random_: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(changed)) if changed else 0
        kind = random_.randrange(4)
        if kind == 0 and changed:
            changed[at] = random_.choice((0, 1, 0x7F, 0x80, 0xFF, random_.randrange(256)))
        elif kind == 1:
            changed[at:at] = random_.randbytes(random_.randint(1, 12))
        elif kind == 2:
            del changed[at : at + random_.randint(1, 8)]
        else:
            changed += changed[:at]
    return bytes(changed)


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Exceptions that ended a greenlet."""
    found: list[object] = []
    monkeypatch.setattr(type(gevent.get_hub()), "handle_error", lambda *args: found.append(args[3]))
    return found


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "plugin.sock")


def one_answer(kong: KongSide) -> None:
    """Take what the server answers, or its closing."""
    with suppress(Closed):
        kong.frame()


def answer_badly(kong: KongSide, random_: random.Random) -> None:
    """Answer the calls of an event, most of them with damaged results, until it ends."""
    try:
        while name := kong.frame():
            called = method(name.decode())
            kong.frame()
            if called.name == "kong.response.exit":
                return
            result = called.encode_result(ANSWERS.get(called.name))
            kong.send(mutated(result, random_) if random_.random() < 0.6 else result)
    except Closed:
        pass


def test_damaged_frames_hurt_nobody_else(path: str, failures: list[object]) -> None:
    """Thousands of damaged commands and results end no greenlet unexpectedly, and a good connection goes on working."""
    random_ = random.Random(20)
    with serving(path, read_all) as server:
        good = connect(path)
        instance = good.start({"callouts": []})
        commands = [
            encode_call(StartInstance(1, "request-callout", b'{"callouts":[]}')),
            encode_call(HandleEvent(2, instance, "access")),
            encode_call(GetPluginInfo(3, "request-callout")),
            encode_call(CloseInstance(4, 12345)),
            encode_call(GetInstanceStatus(5, instance)),
        ]
        for number in range(1500):
            kong = connect(path)
            if number % 2:
                kong.send(mutated(random_.choice(commands), random_))
                kong.sock.shutdown(1)
                one_answer(kong)
            else:
                kong.begin_event(instance)
                answer_badly(kong, random_)
            kong.sock.close()
            if number % 250 == 0:
                assert [name for name, _ in good.event(instance, ANSWERS)][-1] == "kong.service.request.set_header"
        assert good.event(instance, ANSWERS)
        good.sock.close()
        assert server.stop(5) == 0
    assert failures == []


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<I", 0xFFFFFFFF) + b"x",
        struct.pack("<I", 129 << 20),
        struct.pack("<I", 0),
        struct.pack("<I", 5) + b"\xff" * 5,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["4 GiB", "over the limit", "empty", "no message", "HTTP"],
)
def test_impossible_frames_close_their_connection(path: str, data: bytes) -> None:
    """A frame that is too large or no message is not waited for: its connection is closed."""
    with serving(path, read_all):
        kong = connect(path)
        kong.sock.sendall(data)
        with pytest.raises(Closed):
            kong.frame()


def test_slow_connections_hold_up_nobody(path: str) -> None:
    """Connections that stop in the middle of a frame keep no other from being served."""
    with serving(path, read_all):
        slow = [connect(path) for _ in range(100)]
        for kong in slow:
            kong.sock.sendall(struct.pack("<I", 1000) + b"x")
        good = connect(path)
        assert good.event(good.start({"callouts": []}), ANSWERS)


def test_a_result_that_nests_too_deeply_is_answered(path: str, failures: list[object]) -> None:
    """A value thousands of levels deep ends the event with 500, not the connection's greenlet."""
    value = b"\x20\x01"
    for _ in range(3000):
        value = delimited(b"\x32", delimited(b"\x0a", value))
    headers = delimited(b"\x0a", delimited(b"\x0a", b"h") + delimited(b"\x12", value))
    with serving(path, read_all):
        kong = connect(path)
        kong.begin_event(kong.start({"callouts": []}))
        for name, value_ in ANSWERS.items():
            assert method(kong.frame().decode()).name == name
            kong.frame()
            kong.send(headers if name.endswith("get_headers") else method(name).encode_result(value_))
        assert method(kong.frame().decode()).name == "kong.response.exit"
        assert method("kong.response.exit").decode_args(kong.frame())[0] == 500
        kong.sock.close()
    assert failures == []


@pytest.mark.parametrize(
    "config",
    [b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe", b'"\\ud800"', b'{"\\ud800":1}', b'{"a":1e999}', b"", b"null"],
    ids=["deep list", "deep object", "no UTF-8", "text", "lone surrogate", "infinity", "empty", "null"],
)
def test_any_configuration_gets_an_instance(path: str, failures: list[object], config: bytes) -> None:
    """Whatever Kong sends as a configuration is answered with an id, since Kong repeats what is not answered."""
    with serving(path, read_all):
        kong = connect(path)
        assert kong.start(config) > 0
    assert failures == []
