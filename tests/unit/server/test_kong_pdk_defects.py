"""What goes wrong in kong-pdk's own server, and does not in this one: each check runs on both.

A check says whether the defect shows. On kong-pdk's classes it must show, or the check is worth nothing.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import socket as plain_socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import gevent
import kong_pdk.module  # type: ignore[import-untyped]
import msgpack
import pytest
from gevent.event import Event
from gevent.server import StreamServer
from gevent.socket import socket
from kong_pdk.listener import UnixStreamServer  # type: ignore[import-untyped]
from kong_pdk.server import PluginServer  # type: ignore[import-untyped]

from request_callout.engine.kong import Kong
from request_callout.pdk.over_msgpack import MsgPackKong, calls_of
from request_callout.server.msgpack import MsgpackServer
from request_callout.server.sockets import ListeningSocket
from tests.unit.server.kong_side import INFO, ScriptedEngine
from tests.unit.server.test_msgpack import KongSide

Access = Callable[[Kong], None]


class Server(Protocol):
    """A server under test."""

    path: str

    def debug_lines(self) -> list[str]:
        """What was formatted for a log that is not written."""


Make = Callable[[str, Access], AbstractContextManager[Server]]


class KongPdk:
    """kong-pdk's server as it is, in its gevent mode, with a plugin that runs ``access``."""

    def __init__(self, path: str, access: Access) -> None:
        self.path = path
        self._lines: list[str] = []

        class Plugin:
            def __init__(self, config: Mapping[str, Any]) -> None:
                self.config = config

            def access(self, kong: Any) -> None:
                bound = MsgPackKong(calls_of(kong))
                access(bound)
                bound.finish()

        class Module:
            version, priority, Schema = "1", 1, INFO["Schema"]["fields"]

        Module.Plugin = Plugin  # type: ignore[attr-defined]
        kong_pdk.module.FILEPATH = __file__
        server = PluginServer(use_gevent=True, name=INFO["Name"], lua_style=False)
        server.plugins[INFO["Name"]] = kong_pdk.module.Module(INFO["Name"], module=Module)
        server.logger.debug = self._lines.append
        server.logger.warn = server.logger.error = lambda _: None
        self.commands = UnixStreamServer(server, "", use_gevent=True)

    def handle(self, sock: socket, address: object) -> None:
        with contextlib.suppress(OSError):
            self.commands.handle(sock, address)
        sock.close()

    def debug_lines(self) -> list[str]:
        return self._lines


class Ours(MsgpackServer):
    """The server of this package."""

    def __init__(self, path: str, access: Access) -> None:
        super().__init__(ScriptedEngine(access), INFO)
        self.path = path
        self._lines: list[str] = []
        self._commands.logger.debug = self._lines.append

    def debug_lines(self) -> list[str]:
        return self._lines


@contextmanager
def running(kind: type[KongPdk] | type[Ours], path: str, access: Access) -> Iterator[Server]:
    """A server of either kind."""
    server = kind(path, access)
    listening = ListeningSocket(path)
    acceptor = StreamServer(listening.socket, server.handle)
    acceptor.start()
    try:
        yield server
    finally:
        acceptor.stop()
        listening.close()


@pytest.fixture(params=[KongPdk, Ours], ids=["kong-pdk", "here"])
def kind(request: pytest.FixtureRequest) -> type[KongPdk] | type[Ours]:
    chosen: type[KongPdk] | type[Ours] = request.param
    return chosen


@pytest.fixture
def make(kind: type[KongPdk] | type[Ours]) -> Make:
    return lambda path, access: running(kind, path, access)


@pytest.fixture
def defective(kind: type[KongPdk] | type[Ours]) -> bool:
    """Whether the server is kong-pdk's own."""
    return kind is KongPdk


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


def begin(kong: KongSide, instance_id: int) -> Any:
    return kong.call("plugin.HandleEvent", {"InstanceId": instance_id, "EventName": "access"})


def step(kong: KongSide, begun: Any, value: Any = None) -> Any:
    return kong.call("plugin.Step", {"EventId": begun["EventId"], "Data": value})


def live_greenlets() -> int:
    gc.collect()
    return sum(isinstance(one, gevent.Greenlet) and not one.dead for one in gc.get_objects())


def in_time(function: Callable[[], Any], seconds: float = 1.0) -> bool:
    """Whether it ends within this time, when nothing keeps it from ending at once."""
    greenlet = gevent.spawn(function)
    greenlet.join(seconds)
    ended = bool(greenlet.dead)
    greenlet.kill(block=False)
    return ended


def test_events_run_side_by_side_before_their_first_call(make: Make, path: str, defective: bool) -> None:
    """(a) What the plugin does before its first PDK call does not keep other events from beginning."""
    go_on = Event()
    inside = []

    def access(kong: Kong) -> None:
        inside.append(kong)
        if len(inside) == 2:
            go_on.set()
        go_on.wait()

    with make(path, access):
        first, second = KongSide(path), KongSide(path)
        instance_id = first.start({})
        both = [gevent.spawn(begin, kong, instance_id) for kong in (first, second)]
        assert go_on.wait(0.5 if defective else 20) is not defective
        go_on.set()
        gevent.joinall(both, timeout=20, raise_error=True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_before_the_first_call_is_answered(
    make: Make, path: str, defective: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """(b) The client gets 500, and the next event runs."""
    broken = [True]

    def access(kong: Kong) -> None:
        if broken.pop() if broken else False:
            raise RuntimeError("on purpose")

    answers: list[Any] = []
    with make(path, access):
        first, second = KongSide(path), KongSide(path)
        instance_id = first.start({})
        answered = in_time(lambda: answers.append(begin(first, instance_id)))
        assert answered is not defective
        assert in_time(lambda: begin(second, instance_id)) is not defective, "later events wait for it"
    if not defective:
        assert answers[0]["Data"]["Method"] == "kong.response.exit"
        assert answers[0]["Data"]["Args"][0] == 500
    capfd.readouterr()


def test_nothing_is_left_of_an_event_that_ended_with_an_exit(make: Make, path: str, defective: bool) -> None:
    """(c, d) Its greenlet has ended and it is forgotten, whether the exit was its first call or a later one."""

    def access(kong: Kong) -> None:
        if kong_first[0]:
            kong.read([("kong.request.get_path", ())])
        kong.exit(418, None, {})

    kong_first = [False]
    with make(path, access) as server:
        kong = KongSide(path)
        instance_id = kong.start({})
        before = live_greenlets()
        for kong_first[0] in (False, True):
            for _ in range(10):
                begun = begin(kong, instance_id)
                last = step(kong, begun, "/") if kong_first[0] else begun
                assert last["Data"]["Method"] == "kong.response.exit"
        gevent.idle()
        left = live_greenlets() - before
        remembered = len(events_of(server))
    assert (left, remembered) == ((20, 10) if defective else (0, 0))


def events_of(server: Any) -> Mapping[int, Any]:
    events: Mapping[int, Any] = server.commands.ps.events if isinstance(server, KongPdk) else server._events.events
    return events


def test_no_code_runs_on_after_an_exit(path: str) -> None:
    """(c) In kong-pdk a plugin runs on after its exit; here it finds the request answered, and can't wait for Kong."""
    ran_on = []

    class Plugin:
        def __init__(self, config: Any) -> None:
            self.config = config

        def access(self, kong: Any) -> None:
            kong.response.exit(418)
            ran_on.append(1)

    def access(kong: Kong) -> None:
        kong.exit(418, None, {})
        kong.read([("kong.request.get_path", ())])
        ran_on.append(2)

    pdk = KongPdk(path, access)
    pdk.commands.ps.plugins[INFO["Name"]].cls = Plugin
    listening = ListeningSocket(path)
    acceptor = StreamServer(listening.socket, pdk.handle)
    acceptor.start()
    kong = KongSide(path)
    begin(kong, kong.start({}))
    gevent.idle()
    acceptor.stop()
    listening.close()
    assert ran_on == [1]
    with running(Ours, path, access):
        kong = KongSide(path)
        assert begin(kong, kong.start({}))["Data"]["Method"] == "kong.response.exit"
        gevent.idle()
    assert ran_on == [1]


def test_messages_are_not_formatted_for_a_log(make: Make, path: str, defective: bool) -> None:
    """(e) A configuration's secrets and what Kong sends go into no log line, written or not."""
    logging.getLogger("request_callout").setLevel(logging.DEBUG)
    try:
        with make(path, lambda kong: None) as server:
            kong = KongSide(path)
            kong.start({"key": "s3cr3t"})
            shown = [line for line in server.debug_lines() if "s3cr3t" in line]
        assert bool(shown) is defective
    finally:
        logging.getLogger("request_callout").setLevel(logging.NOTSET)


def test_an_id_means_the_same_configuration_after_a_restart(
    kind: type[KongPdk] | type[Ours], path: str, defective: bool
) -> None:
    """(f) After a restart an id that Kong still has never runs another configuration; the server says it has none."""

    def ids(configurations: list[Any]) -> list[int]:
        with running(kind, path, lambda kong: None):
            kong = KongSide(path)
            return [kong.start(configuration) for configuration in configurations]

    before = ids([{"callouts": []}, {"callouts": [1]}])
    after = ids([{"callouts": [1]}, {"callouts": []}])
    assert (before == after) is defective
    assert (before == after[::-1]) is not defective
    with running(kind, path, lambda kong: None):
        kong = KongSide(path)
        kong.start({"callouts": [2]})
        if defective:
            begin(kong, before[0])
        else:
            with pytest.raises(RuntimeError, match="no plugin instance"):
                begin(kong, before[0])


def test_a_step_of_another_process_does_not_go_to_an_event_of_this_one(make: Make, path: str, defective: bool) -> None:
    """(f) Ids of events do not repeat after a restart either: the client of the old event gets 500."""

    def access(kong: Kong) -> None:
        heard.append(kong.read([("kong.request.get_path", ())])[0])

    heard: list[Any] = []
    with make(path, access):
        kong = KongSide(path)
        old = begin(kong, kong.start({}))
    with make(path, access):
        kong = KongSide(path)
        begin(kong, kong.start({}))
        answer = step(KongSide(path), old, "/of-another-request")
        gevent.idle()
    assert heard == (["/of-another-request"] if defective else [])
    if not defective:
        assert answer["Data"]["Method"] == "kong.response.exit"
        assert answer["Data"]["Args"][0] == 500


def test_a_step_of_no_event_is_answered_with_500(make: Make, path: str, defective: bool) -> None:
    """After a restart during an event the client gets 500, where an error would let the request through."""
    with make(path, lambda kong: None):
        kong = KongSide(path)
        kong.start({})
        if defective:
            with pytest.raises(RuntimeError, match="not found"):
                step(kong, {"EventId": 12345})
        else:
            answer = step(kong, {"EventId": 12345})
            assert (answer["Data"]["Method"], answer["Data"]["Args"][0]) == ("kong.response.exit", 500)


def test_a_value_that_cannot_be_packed_is_answered_with_500(make: Make, path: str, defective: bool) -> None:
    """An error from the server lets the request through, so there is none: the client gets 500."""

    def access(kong: Kong) -> None:
        kong.write("kong.ctx.shared.set", "callouts", 1 << 64)

    with make(path, access):
        kong = KongSide(path)
        instance_id = kong.start({})
        if defective:
            with pytest.raises(RuntimeError):
                begin(kong, instance_id)
        else:
            answer = begin(kong, instance_id)
            assert (answer["Data"]["Method"], answer["Data"]["Args"][0]) == ("kong.response.exit", 500)


def test_a_large_answer_arrives_whole(make: Make, path: str, defective: bool) -> None:
    """An answer larger than the socket's buffer is sent to its end."""
    body = b"x" * (4 << 20)
    with make(path, lambda kong: kong.exit(200, body, {})):
        kong = KongSide(path)
        instance_id = kong.start({})
        kong.sock.settimeout(1 if defective else 20)
        message = msgpack.packb(
            [0, 9, "plugin.HandleEvent", [{"InstanceId": instance_id, "EventName": "access"}]], use_bin_type=True
        )
        kong.sock.sendall(message)
        gevent.sleep(0)
        unpacker = msgpack.Unpacker()
        arrived = 0
        with contextlib.suppress(plain_socket.timeout):
            while arrived < len(body):
                data = kong.sock.recv(65536)
                arrived += len(data)
                unpacker.feed(data)
        assert (arrived > len(body)) is not defective


def test_text_that_is_no_utf8_does_not_end_the_connection(make: Make, path: str, defective: bool) -> None:
    """A header of any bytes reaches the plugin; a closed connection would let the request through."""
    heard: list[Any] = []

    def access(kong: Kong) -> None:
        heard.append(kong.read([("kong.request.get_header", ("x",))])[0])

    with make(path, access):
        kong = KongSide(path)
        begun = begin(kong, kong.start({}))
        kong.sock.sendall(
            b"\x94\x00\x07" + msgpack.packb("plugin.Step") + b"\x91\x82" + msgpack.packb("EventId")
            + msgpack.packb(begun["EventId"]) + msgpack.packb("Data") + b"\xa2a\xff"
        )  # fmt: skip
        with contextlib.suppress(ConnectionError):
            kong.sock.recv(65536)
    assert heard == ([] if defective else ["a\udcff"])


def test_only_kongs_commands_are_carried_out(make: Make, path: str, defective: bool) -> None:
    """A message can't call any other method of the server's object."""
    with make(path, lambda kong: None):
        kong = KongSide(path)
        if defective:
            assert kong.call("plugin.SetPluginDir", "/tmp") == "ok"
        else:
            with pytest.raises(RuntimeError, match="not supported"):
                kong.call("plugin.SetPluginDir", "/tmp")
        assert json.dumps(kong.start({}))
