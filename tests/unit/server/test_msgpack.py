"""The MsgPack server over real sockets, and the Kong of one event; kong-pdk's defects are in test_kong_pdk_defects."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import msgpack
import pytest
from gevent.event import Event
from gevent.server import StreamServer
from gevent.socket import AF_UNIX, SOCK_STREAM, socket

from request_callout.engine.kong import ConnectionLost, Kong
from request_callout.lua.host import PdkError
from request_callout.pdk.over_msgpack import MAX_BODY_BYTES, MsgPackKong, calls_of
from request_callout.server.msgpack import MsgpackServer
from request_callout.server.sockets import ListeningSocket
from tests.unit.pdk.recorded import stream
from tests.unit.server.kong_side import INFO, Answers, Called, ScriptedEngine

SEEN = ("kong.ctx.shared.set", ("request_callout", True))
REQUEST_ID = ("kong.nginx.get_var", ("kong_request_id",))


class KongSide:
    """One connection of Kong on MsgPack."""

    def __init__(self, path: str) -> None:
        self.sock = socket(AF_UNIX, SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(path)
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        self.number = 0

    def call(self, method: str, *args: Any) -> Any:
        """One remote call; raises RuntimeError for an error, EOFError if the server closes."""
        self.number += 1
        self.sock.sendall(msgpack.packb([0, self.number, method, list(args)]))
        while True:
            for kind, number, error, result in self.unpacker:
                assert (kind, number) == (1, self.number)
                if error is not None:
                    raise RuntimeError(error)
                return result
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.unpacker.feed(data)

    def start(self, config: Any) -> int:
        """Start an instance and give its id."""
        answer = self.call("plugin.StartInstance", {"Name": "request-callout", "Config": json.dumps(config)})
        return int(answer["Id"])

    def event(self, instance_id: int, answers: Answers | None = None) -> list[Called]:
        """One whole event: the calls that were made, without the mark at the end of an event that did not exit."""
        step = self.call("plugin.HandleEvent", {"InstanceId": instance_id, "EventName": "access"})
        calls: list[Called] = []
        while step["Data"] != "ret":
            name, args = step["Data"]["Method"], tuple(step["Data"]["Args"])
            calls.append((name, args))
            if name == "kong.response.exit":
                break
            value = answers(name, args) if callable(answers) else (answers or {}).get(name)
            step = self.call("plugin.Step", {"EventId": step["EventId"], "Data": value})
        if step["Data"] == "ret":
            assert calls.pop() == SEEN
        return calls


@contextmanager
def serving(path: str, access: Any, **options: Any) -> Iterator[MsgpackServer]:
    """A MsgPack server in this process."""
    server = MsgpackServer(ScriptedEngine(access), INFO, **options)
    listening = ListeningSocket(path)
    acceptor = StreamServer(listening.socket, server.handle)
    acceptor.start()
    try:
        yield server
    finally:
        acceptor.stop()
        listening.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "plugin.sock")


def test_an_event_makes_its_calls_in_order(path: str) -> None:
    """Writes are sent before a later read and at the end, one by one, in the order they were made."""

    def access(kong: Kong) -> None:
        kong.write("kong.service.request.set_header", "X", "a\udcff")
        assert kong.read([("kong.request.get_path", ()), REQUEST_ID]) == ["/p", "id"]
        kong.write("kong.ctx.shared.set", "callouts", {"a": None, "b": [None, True, {}]})
        kong.write("kong.log.notice", None, True, "x")

    with serving(path, access):
        kong = KongSide(path)
        calls = kong.event(kong.start({}), {"kong.request.get_path": "/p", "kong.nginx.get_var": "id"})
    assert calls == [
        ("kong.service.request.set_header", ("X", b"a\xff")),
        ("kong.request.get_path", ()),
        REQUEST_ID,
        ("kong.ctx.shared.set", ("callouts", {"b": [None, True, {}]})),
        ("kong.log.notice", ("nil", "true", "x")),
    ]


def test_an_exit_is_the_last_call_and_leaves_no_greenlet_behind(path: str) -> None:
    """After an exit nothing is called, and the event's greenlet ends although Kong never answers."""

    def access(kong: Kong) -> None:
        kong.exit(418, b"tea", {"X": ["a", "b"]})
        kong.write("kong.log.notice", "never")
        with pytest.raises(ConnectionLost):
            kong.read([("kong.request.get_path", ())])

    def greenlets() -> int:
        gc.collect()
        return sum(isinstance(one, gevent.Greenlet) and not one.dead for one in gc.get_objects())

    with serving(path, access) as server:
        kong = KongSide(path)
        instance_id = kong.start({})
        before = greenlets()
        for _ in range(20):
            assert kong.event(instance_id) == [("kong.response.exit", (418, b"tea", {"X": ["a", "b"]}))]
        assert greenlets() == before
        assert server.stop(0) == 0


def test_an_exception_is_an_exit_with_500(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the engine raises, Kong is told to answer 500, and the server goes on."""

    def access(kong: Kong) -> None:
        raise RuntimeError("broken")

    with serving(path, access):
        kong = KongSide(path)
        instance_id = kong.start({})
        for _ in range(2):
            ((name, args),) = kong.event(instance_id)
            assert (name, args[0]) == ("kong.response.exit", 500)
    assert caplog.text.count("RuntimeError: broken") == 2


def test_events_wait_side_by_side(path: str) -> None:
    """An event that waits for something does not keep another from beginning."""
    both = Event()
    inside = 0

    def access(kong: Kong) -> None:
        nonlocal inside
        inside += 1
        if inside == 2:
            both.set()
        assert both.wait(20)

    with serving(path, access):

        def one() -> list[Called]:
            kong = KongSide(path)
            return kong.event(kong.start({}))

        greenlets = [gevent.spawn(one) for _ in range(2)]
        gevent.joinall(greenlets, raise_error=True)


def test_stopping_waits_for_events_in_flight(path: str) -> None:
    """A stop lets an event go on over its connection, and then ends all connections."""

    def access(kong: Kong) -> None:
        kong.write("kong.log.notice", kong.read([("kong.request.get_path", ())])[0])

    with serving(path, access) as server:
        kong = KongSide(path)
        stopping: list[gevent.Greenlet[..., int]] = []

        def answer(name: str, args: tuple[Any, ...]) -> Any:
            if name == "kong.request.get_path":
                stopping.append(gevent.spawn(server.stop, 20))
                gevent.sleep(0)
                return "/p"
            return None

        assert kong.event(kong.start({}), answer)[-1] == ("kong.log.notice", ("/p",))
        assert stopping[0].get() == 0
        assert kong.sock.recv(1) == b""


class Recorded:
    """kong-pdk's object, answering with what a running Kong sent for each method's first call."""

    def __init__(self, *, lua_style: bool) -> None:
        self.lua_style = lua_style
        self.answers: dict[str, Any] = {}
        asked = msgpack.Unpacker(strict_map_key=False)
        asked.feed(stream("msgpack.raw.jsonl", 1, "plugin"))
        methods = [answer[3]["Data"]["Method"] for answer in asked if isinstance(answer[3].get("Data"), dict)]
        steps = msgpack.Unpacker(strict_map_key=False)
        steps.feed(stream("msgpack.raw.jsonl", 1, "kong"))
        replies = [step[3][0].get("Data") for step in steps if step[2].startswith("plugin.Step")]
        for method, reply in zip(methods, replies, strict=False):
            if method == "kong.ctx.shared.get":
                self.answers[method] = reply  # the second one asks for what was set
            self.answers.setdefault(method, reply)

    def __getattr__(self, name: str) -> Any:
        return _Function(self, f"kong.{name}")


class _Function:
    def __init__(self, recorded: Recorded, name: str) -> None:
        self.recorded, self.name = recorded, name

    def __getattr__(self, name: str) -> Any:
        return _Function(self.recorded, f"{self.name}.{name}")

    def __call__(self, *_: Any) -> Any:
        if self.name == "kong.vault.get":
            if self.recorded.lua_style:
                return None, "no such vault"
            raise PDKException("no such vault")
        value = self.recorded.answers[self.name]
        return (value, None) if self.recorded.lua_style else value


class PDKException(Exception):
    """Named as kong-pdk's."""


@pytest.mark.parametrize("lua_style", [True, False])
def test_recorded_replies_come_out_in_the_normal_form(lua_style: bool) -> None:
    """What a running Kong sent is read as the engine wants it, in both of kong-pdk's styles."""
    kong = MsgPackKong(calls_of(Recorded(lua_style=lua_style)))
    wanted = {
        "kong.request.get_headers": {
            "x-dup": ["1", "2"],
            "user-agent": "curl/7.88.1",
            "accept": "*/*",
            "content-length": "11",
            "host": "127.0.0.1:8000",
            "x-case": "Mixed",
            "content-type": "application/json",
        },
        "kong.request.get_query": {"c": " x", "a": ["1", "2"], "b": True},
        "kong.request.get_uri_captures": {"unnamed": ["bob", "42"], "named": {"uid": "bob"}},
        "kong.request.get_raw_body": b'{"k":[1,2]}',
        "kong.request.get_path": "/users/bob/42",
        "kong.request.get_http_version": 1.1,
        "kong.client.get_consumer": None,
        "kong.ctx.shared.get": {
            "c1": {
                "response": {
                    "status": 200,
                    "body": {"list": [1, None, "x", {"a": []}], "n": 1.5, "flag": False, "empty": []},
                    "headers": {"x": ["1", "2"]},
                }
            }
        },
    }
    assert dict(zip(wanted, kong.read([(name, ("a",)) for name in wanted]), strict=True)) == wanted


@pytest.mark.parametrize("lua_style", [True, False])
def test_an_error_of_kong_is_a_pdk_error(lua_style: bool) -> None:
    """An error that Kong answers can be caught by a script, in both of kong-pdk's styles."""
    kong = MsgPackKong(calls_of(Recorded(lua_style=lua_style)))
    with pytest.raises(PdkError, match=r"kong\.vault\.get: no such vault"):
        kong.read([("kong.vault.get", ("{vault://x/y}",))])


def test_no_captures_are_no_captures() -> None:
    """Kong sends empty tables as lists."""
    recorded = Recorded(lua_style=False)
    recorded.answers["kong.request.get_uri_captures"] = {"unnamed": [], "named": []}
    captures = MsgPackKong(calls_of(recorded)).read([("kong.request.get_uri_captures", ())])
    assert captures == [{"unnamed": [], "named": {}}]


def test_a_body_is_asked_for_even_if_nginx_has_put_it_into_a_file() -> None:
    """Without a limit Kong would give no body from a file and end the request; a script's own limit is kept."""
    asked = []

    def call(method: str, args: tuple[Any, ...]) -> tuple[Any, None]:
        asked.append((method, args))
        return b"", None

    MsgPackKong(call).read([("kong.request.get_raw_body", ()), ("kong.request.get_raw_body", (5,))])
    assert asked == [("kong.request.get_raw_body", (MAX_BODY_BYTES,)), ("kong.request.get_raw_body", (5,))]


def test_a_write_that_kong_refuses_ends_the_request_with_500(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """The upstream does not get a request that is half prepared, and the mark is not set."""

    def access(kong: Kong) -> None:
        kong.write("kong.service.request.set_path", "/p")

    with serving(path, access):
        kong = KongSide(path)
        begun = kong.call("plugin.HandleEvent", {"InstanceId": kong.start({}), "EventName": "access"})
        answer = kong.call("plugin.StepError", {"EventId": begun["EventId"], "Data": "no such path"})
    assert (answer["Data"]["Method"], answer["Data"]["Args"][0]) == ("kong.response.exit", 500)
    assert "no such path" in caplog.text


def test_steps_of_an_event_may_come_over_any_connection(path: str) -> None:
    """Kong takes whatever connection its pool has for each step."""

    def access(kong: Kong) -> None:
        kong.write("kong.log.notice", *kong.read([("kong.request.get_path", ()), ("kong.request.get_method", ())]))

    with serving(path, access):
        kong = KongSide(path)
        step = kong.call("plugin.HandleEvent", {"InstanceId": kong.start({}), "EventName": "access"})
        calls = []
        for value in ("/p", "GET", None, None):
            calls.append((step["Data"]["Method"], tuple(step["Data"]["Args"])))
            step = KongSide(path).call("plugin.Step", {"EventId": step["EventId"], "Data": value})
    assert step["Data"] == "ret"
    assert calls[2:] == [("kong.log.notice", ("/p", "GET")), SEEN]


def test_an_event_whose_kong_has_vanished_ends(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """If no step comes in time the event ends and is forgotten; a step that comes later is answered with 500."""
    ended = Event()

    def access(kong: Kong) -> None:
        try:
            kong.read([("kong.request.get_path", ())])
        finally:
            ended.set()

    with serving(path, access, step_timeout_s=0.05) as server:
        kong = KongSide(path)
        begun = kong.call("plugin.HandleEvent", {"InstanceId": kong.start({}), "EventName": "access"})
        assert ended.wait(20)
        gevent.idle()
        assert server.busy == 0
        answer = kong.call("plugin.Step", {"EventId": begun["EventId"], "Data": "/p"})
    assert (answer["Data"]["Method"], answer["Data"]["Args"][0]) == ("kong.response.exit", 500)
    assert "Kong gave no result of kong.request.get_path within 0.05 s" in caplog.text


def test_an_event_ends_when_kong_is_not_there_to_take_its_call(path: str) -> None:
    """A connection that Kong closed while the plugin was at work ends the event at once, without the wait."""
    go_on, ended = Event(), Event()

    def access(kong: Kong) -> None:
        go_on.wait()
        try:
            kong.read([("kong.request.get_path", ())])
        except ConnectionLost:
            ended.set()
            raise

    with serving(path, access) as server:
        kong = KongSide(path)
        message = {"InstanceId": kong.start({}), "EventName": "access"}
        kong.sock.sendall(msgpack.packb([0, 7, "plugin.HandleEvent", [message]]))
        while not server.busy:
            gevent.sleep(0)
        kong.sock.close()
        go_on.set()
        assert ended.wait(20)
        gevent.idle()
        assert server.busy == 0


def test_a_killed_reader_leaves_replies_in_step(path: str) -> None:
    """When a greenlet is killed while it waits for Kong, its result does not become that of the next call."""

    def access(kong: Kong) -> None:
        reader = gevent.spawn(kong.read, [("kong.request.get_path", ())])
        asked.wait()
        reader.kill()
        kong.write("kong.log.notice", kong.read([("kong.request.get_method", ())])[0])

    asked = Event()

    def answer(name: str, args: tuple[Any, ...]) -> Any:
        if name == "kong.request.get_path":
            asked.set()
            gevent.sleep(0)
            return "/p"
        return "GET" if name == "kong.request.get_method" else None

    with serving(path, access):
        kong = KongSide(path)
        calls = kong.event(kong.start({}), answer)
    assert [name for name, _ in calls] == ["kong.request.get_path", "kong.request.get_method", "kong.log.notice"]
    assert calls[-1][1] == ("GET",)


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\x00",
        b"GET / HTTP/1.1\r\n",
        msgpack.packb([0, 1, "plugin.HandleEvent"]),
        msgpack.packb([1, 1, None, None]),
        msgpack.packb([0, 1, 2, [3]]),
        b"\xdd\xff\xff\xff\xff",
        b"\x81\x90\x01",
    ],
)
def test_what_is_not_the_protocol_ends_that_connection_only(path: str, data: bytes) -> None:
    """A connection with other bytes is closed, and another goes on."""
    with serving(path, lambda kong: None):
        good, bad = KongSide(path), KongSide(path)
        instance_id = good.start({})
        bad.sock.sendall(data)
        assert bad.sock.recv(1) == b""
        assert good.event(instance_id) == []


@pytest.mark.parametrize(
    ("method", "argument"),
    [
        ("HandleEvent", None),
        ("HandleEvent", {"InstanceId": [], "EventName": "access"}),
        ("Step", {}),
        ("Step", {"EventId": {}}),
        ("StepError", 7),
    ],
)
def test_a_bad_command_of_an_event_is_answered_with_500(path: str, method: str, argument: Any) -> None:
    """Never with an error, which would let the request through to the upstream."""
    with serving(path, lambda kong: None):
        answer = KongSide(path).call(f"plugin.{method}", argument)
    assert (answer["Data"]["Method"], answer["Data"]["Args"][0]) == ("kong.response.exit", 500)


def test_the_guard_is_named_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever starts the server on MsgPack is told that Kong fails open, and what to do."""
    MsgpackServer(ScriptedEngine(lambda kong: None), INFO)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "examples/msgpack-guard" in record.getMessage()
