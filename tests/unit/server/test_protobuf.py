"""The ProtoBuf server over real unix sockets."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.socket import AF_UNIX, SOCK_SEQPACKET, SOCK_STREAM, socketpair

from request_callout.engine.kong import BodyFileError, ConnectionLost, Kong, UnsupportedMethod
from request_callout.pdk.protobuf import (
    CloseInstance,
    Done,
    FrameDecoder,
    GetInstanceStatus,
    GetPluginInfo,
    GetPluginNames,
    HandleEvent,
    InstanceStatus,
    PluginInfo,
    PluginNames,
    RawBody,
    StartInstance,
    decode_call,
    decode_return,
    encode_call,
    frame,
)
from request_callout.server.instances import Instances
from request_callout.server.protobuf import ProtobufServer
from tests.unit.pdk.recorded import stream
from tests.unit.server.kong_side import INFO, Closed, KongSide, ScriptedEngine, connect, serving

SET_HEADER = ("kong.service.request.set_header", ("X-Callout", "yes"))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "plugin.sock")


def set_header(kong: Kong) -> None:
    kong.write("kong.service.request.set_header", "X-Callout", "yes")


def test_one_event_with_one_header_is_one_write_to_kong() -> None:
    """An event that sets one upstream header sends the call, the end of the calls and the answer in a single write."""
    # On a SEQPACKET socket each write is one packet, so each receive shows one write.
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    server = ProtobufServer(Instances(ScriptedEngine(set_header), "1"), INFO)
    gevent.spawn(server.handle, theirs)
    kong = KongSide(ours)
    instance_id = kong.start({"callouts": []})
    kong.received.clear()
    assert kong.event(instance_id) == [SET_HEADER]
    assert len(kong.received) == 1
    ours.close()


def test_queued_writes_go_out_with_the_next_read_in_one_write() -> None:
    """Writes wait for the next read, and both go out together, in their order."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    results: list[Any] = []

    def access(kong: Kong) -> None:
        set_header(kong)
        kong.write("kong.ctx.shared.set", "a", {"n": 1, "none": None})
        results.append(kong.read([("kong.request.get_path", ()), ("kong.request.get_header", ("x",))]))

    server = ProtobufServer(Instances(ScriptedEngine(access), "1"), INFO)
    gevent.spawn(server.handle, theirs)
    kong = KongSide(ours)
    instance_id = kong.start({})
    kong.received.clear()
    calls = kong.event(instance_id, {"kong.request.get_path": "/p"})
    assert [name for name, _ in calls] == [
        "kong.service.request.set_header",
        "kong.ctx.shared.set",
        "kong.request.get_path",
        "kong.request.get_header",
    ]
    assert calls[1][1] == ("a", {"n": 1})
    assert results == [["/p", None]]
    assert len(kong.received) == 2
    ours.close()


PATH = ("kong.request.get_path", ())


def test_what_is_asked_at_the_end_costs_no_write_of_its_own() -> None:
    """A result that nobody waits for comes with the replies to the event's one write."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    told: list[Any] = []

    def access(kong: Kong) -> None:
        before = list(told)
        set_header(kong)
        kong.ask(PATH, told.append)
        kong.write("kong.log.notice", "after")
        assert told == before

    gevent.spawn(ProtobufServer(Instances(ScriptedEngine(access), "1"), INFO).handle, theirs)
    kong = KongSide(ours)
    instance_id = kong.start({})
    for path in ("/a", "/b"):
        kong.received.clear()
        assert len(kong.event(instance_id, {"kong.request.get_path": path})) == 3
        assert len(kong.received) == 1
    assert kong.command(GetPluginNames(9)) == PluginNames(9, ("request-callout",))
    assert told == ["/a", "/b"]
    ours.close()


def test_what_is_asked_before_an_exit_is_told(path: str) -> None:
    """An exit is never answered, but what was asked before it is; what is asked after it has no result."""
    told: list[Any] = []

    def access(kong: Kong) -> None:
        kong.ask(PATH, told.append)
        kong.exit(418, None, {})
        kong.ask(PATH, told.append)

    with serving(path, access) as server:
        kong = connect(path)
        assert [name for name, _ in kong.event(kong.start({}), {PATH[0]: "/a"})] == [PATH[0], "kong.response.exit"]
        while server.busy:
            gevent.sleep(0)
    assert told == [None, "/a"]


def test_what_kong_does_not_answer_any_more_is_told_so(path: str) -> None:
    """If Kong is gone before it answered, the one who asked gets None, once."""
    told: list[Any] = []
    with serving(path, lambda kong: kong.ask(PATH, told.append)) as server:
        kong = connect(path)
        kong.begin_event(kong.start({}))
        next(kong.calls({}))
        kong.sock.close()
        while server.busy:
            gevent.sleep(0)
    assert told == [None]


@pytest.mark.parametrize("reply", [frame(b"\xff\xff\xff\xff"), b"\xff\xff\xff\xff"])
def test_what_kong_answers_with_no_frame_is_told_so(path: str, reply: bytes) -> None:
    """If what comes is no result, or not even a frame, the one who asked gets None, once: its log line is not lost."""
    told: list[Any] = []
    with serving(path, lambda kong: kong.ask(PATH, told.append)) as server:
        kong = connect(path)
        kong.begin_event(kong.start({}))
        assert kong.frame() == PATH[0].encode()
        kong.frame()
        kong.sock.sendall(reply)
        with pytest.raises(Closed):
            list(iter(kong.frame, None))
        while server.busy:
            gevent.sleep(0)
    assert told == [None]


def test_the_recorded_bytes_of_kong_start_an_instance_and_run_events() -> None:
    """Kong's recorded bytes, sent one by one, get the calls that were recorded, but for ids and times."""
    to_server, from_server = stream("protobuf.raw.jsonl", 1, "kong"), stream("protobuf.raw.jsonl", 1, "plugin")
    script = recorded_calls(from_server)
    events = iter(script)

    def access(kong: Kong) -> None:
        for name, args in next(events):
            if name == "kong.response.exit":
                kong.exit(*args)
            else:
                kong.read([(name, args)])

    class RecordedInstances(Instances):
        def use(self, instance_id: int) -> Any:
            assert instance_id == 1  # the id of the server that was recorded
            return next(started.instance for started in self._by_id.values())

    engine = ScriptedEngine(access)
    server = ProtobufServer(RecordedInstances(engine, "1"), INFO)
    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
    gevent.spawn(server.handle, theirs)

    def feed() -> None:
        for byte in to_server:
            ours.sendall(bytes((byte,)))
        ours.shutdown(1)

    gevent.spawn(feed)
    received = b""
    while data := ours.recv(65536):
        received += data
    assert [config["cache"]["strategy"] for config in engine.configurations] == ["redis"]
    assert recorded_calls(received) == script
    assert len(script) == 3


def recorded_calls(data: bytes) -> list[list[tuple[str, tuple[Any, ...]]]]:
    """The calls of each event in what a server sent, exits with their three arguments."""
    from request_callout.pdk.protobuf import method

    decoder = FrameDecoder()
    decoder.feed(data)
    frames = iter(iter(decoder.next_frame, None))
    started = decode_return(next(frames))
    assert isinstance(started, InstanceStatus)
    events: list[list[tuple[str, tuple[Any, ...]]]] = []
    while True:
        calls: list[tuple[str, tuple[Any, ...]]] = []
        ended = None
        for name in frames:
            if not name:
                ended = decode_return(next(frames))
                break
            called = method(name.decode())
            args = called.decode_args(next(frames))
            calls.append((called.name, tuple(map(nil_for_null, args))))
        if not calls:
            return events
        events.append(calls)
        if ended is None:
            return events


def nil_for_null(value: Any) -> Any:
    """What this server sends for a value that was recorded from another: nulls are nil."""
    if isinstance(value, dict):
        return {name: nil_for_null(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [False if element is None else nil_for_null(element) for element in value]
    return value


def test_kong_can_ask_what_the_server_has(path: str) -> None:
    """The commands for names, the plugin's description and an instance's status are answered."""
    with serving(path, set_header):
        kong = connect(path)
        assert kong.command(GetPluginNames(7)) == PluginNames(7, ("request-callout",))
        described = kong.command(GetPluginInfo(8, "request-callout"))
        assert isinstance(described, PluginInfo)
        assert (described.priority, described.version, described.phases) == (812, "0.1.0", ("access",))
        instance_id = kong.start({"callouts": []})
        status = kong.command(GetInstanceStatus(9, instance_id))
        assert isinstance(status, InstanceStatus)
        assert (status.instance_id, status.name, status.config) == (instance_id, "request-callout", None)


def test_a_close_by_one_worker_leaves_the_instance_to_the_others(path: str) -> None:
    """After a close the instance still handles events, and a close of an unknown id is answered too."""
    with serving(path, set_header):
        kong = connect(path)
        instance_id = kong.start({})
        kong.command(CloseInstance(5, instance_id))
        kong.command(CloseInstance(6, 12345))
        assert connect(path).event(instance_id) == [SET_HEADER]


def test_an_event_of_an_unknown_instance_closes_its_connection_only(path: str) -> None:
    """An unknown instance closes the connection that named it, and other connections go on."""
    with serving(path, set_header):
        kong, other = connect(path), connect(path)
        instance_id = other.start({})
        with pytest.raises(Closed):
            kong.event(instance_id % 0x7FFFFFFF + 1)
        assert other.event(instance_id) == [SET_HEADER]


@pytest.mark.parametrize(
    "bad",
    [
        frame(b"\xff\xff\xff"),
        frame(b"\x08"),
        frame(b""),
        frame(encode_call(GetInstanceStatus(1, 3))),
        frame(encode_call(GetPluginInfo(1, "other"))),
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_malformed_frames_close_only_their_connection(path: str, bad: bytes) -> None:
    """Bytes that are no command close the connection they came on, and the server goes on."""
    with serving(path, set_header):
        kong, other = connect(path), connect(path)
        kong.sock.sendall(bad)
        with pytest.raises(Closed):
            kong.frame()
        assert other.event(other.start({})) == [SET_HEADER]


def test_a_frame_over_the_limit_closes_the_connection_before_it_is_read(path: str) -> None:
    """A frame that announces more than the limit is refused by its length alone."""
    with serving(path, set_header, max_frame_bytes=1000):
        kong = connect(path)
        kong.sock.sendall((1001).to_bytes(4, "little"))
        with pytest.raises(Closed):
            kong.frame()
        assert connect(path).start({"small": True}) > 0


def test_a_malformed_reply_ends_the_event_and_the_connection(path: str) -> None:
    """A reply that is no message is answered with an exit, for the client is to get an answer."""

    def access(kong: Kong) -> None:
        kong.read([("kong.request.get_headers", ())])

    with serving(path, access):
        kong = connect(path)
        kong.begin_event(kong.start({}))
        assert kong.frame() == b"kong.request.get_headers"
        kong.frame()
        kong.send(b"\x0a\xff")
        name = kong.frame()
        assert name == b"kong.response.exit"


def test_exit_is_the_last_thing_and_the_end_of_the_connection_is_normal(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is queued before an exit goes before it, nothing after it, and Kong's closing is no error."""

    def access(kong: Kong) -> None:
        set_header(kong)
        kong.exit(418, b"tea", {"X-Pot": ["a", "b"]})
        kong.write("kong.log.notice", "never")
        with pytest.raises(ConnectionLost):
            kong.read([("kong.request.get_path", ())])
        kong.exit(500, None, {})

    with serving(path, access) as server, caplog.at_level(logging.INFO):
        kong = connect(path)
        calls = kong.event(kong.start({}))
        assert calls == [SET_HEADER, ("kong.response.exit", (418, b"tea", {"X-Pot": ["a", "b"]}))]
        while server.busy:
            gevent.sleep(0)
        assert caplog.records == []


def test_an_exception_inside_an_event_is_an_exit_with_500_and_one_log_line(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever an event raises, the client gets 500 and the log one record; the connection is not just closed."""

    def access(kong: Kong) -> None:
        raise RuntimeError("broken")

    with serving(path, access):
        kong = connect(path)
        ((name, args),) = kong.event(kong.start({}))
        assert name == "kong.response.exit"
        assert args == (
            500,
            b'{"message":"Internal Server Error"}',
            {"content-type": "application/json; charset=utf-8"},
        )
        assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_call_that_fails_inside_kong_is_logged_by_its_name(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """When Kong drops the connection in the middle of an event, the log names the call that it did not answer."""

    def access(kong: Kong) -> None:
        set_header(kong)
        kong.write("kong.service.request.set_path", "no slash")

    with serving(path, access) as server:
        kong = connect(path)
        kong.begin_event(kong.start({}))
        calls = kong.calls({})
        next(calls)
        next(calls)  # the first is answered, the second is not
        kong.sock.close()
        while server.busy:
            gevent.sleep(0)
        assert "kong.service.request.set_path was not answered" in caplog.text


def test_another_phase_is_done_at_once(path: str) -> None:
    """An event of a phase that the plugin does not have is answered without a call."""
    with serving(path, set_header):
        kong = connect(path)
        kong.begin_event(kong.start({}), "log")
        assert list(kong.calls({})) == []


def test_an_unsupported_method_is_refused_before_anything_is_sent(path: str) -> None:
    """A method that ProtoBuf lacks raises an error that names MsgPack if it has it; Kong sees no call."""
    errors = []

    def access(kong: Kong) -> None:
        for name in ("kong.vault.get", "kong.cache.get", "kong.no.such"):
            with pytest.raises(UnsupportedMethod) as error:
                kong.read([("kong.request.get_path", ()), (name, ())])
            errors.append(error.value.other)
            with pytest.raises(UnsupportedMethod):
                kong.write(name)

    with serving(path, access):
        kong = connect(path)
        assert kong.event(kong.start({})) == []
    assert errors == ["MsgPack", "MsgPack", None]


def test_a_body_in_a_file_is_read_or_named(path: str, tmp_path: Path) -> None:
    """A body that nginx wrote to a file is read from it; a file that can't be read raises an error with its path."""
    file = tmp_path / "0000000001"
    file.write_bytes(b"\x00big")
    seen: list[Any] = []

    def access(kong: Kong) -> None:
        try:
            seen.append(kong.read([("kong.request.get_raw_body", ()), ("kong.request.get_path", ())]))
        except BodyFileError as error:
            seen.append(error.path)

    with serving(path, access):
        kong = connect(path)
        instance_id = kong.start({})
        kong.event(instance_id, {"kong.request.get_raw_body": RawBody(path=str(file)), "kong.request.get_path": "/"})
        kong.event(instance_id, {"kong.request.get_raw_body": RawBody(path="/no/such"), "kong.request.get_path": "/"})
    assert seen == [[b"\x00big", "/"], "/no/such"]


def test_a_large_body_after_many_writes_does_not_deadlock(path: str) -> None:
    """Replies are read while a long write is still going out, as Kong stops reading when its replies find no room."""
    body = bytes(range(256)) * 20_000

    def access(kong: Kong) -> None:
        for number in range(20_000):
            kong.write("kong.service.request.clear_header", f"x-{number}")
        kong.write("kong.service.request.set_raw_body", body)
        for number in range(400):
            kong.write("kong.service.request.clear_header", f"y-{number}")

    with serving(path, access):
        kong = connect(path)
        kong.sock.setsockopt(1, 7, 4096)  # SO_SNDBUF: Kong's replies find little room
        calls = kong.event(kong.start({}))
    assert len(calls) == 20_401
    assert calls[20_000] == ("kong.service.request.set_raw_body", (body,))


def test_the_replies_of_several_greenlets_reach_their_callers(path: str) -> None:
    """Greenlets of one event share the connection, and each gets the replies to its own calls."""
    got: dict[int, Any] = {}

    def access(kong: Kong) -> None:
        def read(number: int) -> None:
            kong.write("kong.log.debug", f"{number}")
            got[number] = kong.read([("kong.request.get_header", (f"h{number}-{part}",)) for part in range(3)])

        gevent.joinall([gevent.spawn(read, number) for number in range(50)], raise_error=True)

    with serving(path, access):
        kong = connect(path)
        kong.event(kong.start({}), lambda name, args: args[0] if name.endswith("get_header") else None)
    assert got == {number: [f"h{number}-{part}" for part in range(3)] for number in range(50)}


def test_a_killed_reader_does_not_shift_the_replies(path: str) -> None:
    """When a greenlet is killed while it waits for Kong, the next reader still gets its own reply."""
    got: list[Any] = []
    waiting, killed = Event(), Event()

    def access(kong: Kong) -> None:
        reader = gevent.spawn(kong.read, [("kong.request.get_header", ("first",))])
        waiting.wait()
        reader.kill()
        killed.set()
        got.append(kong.read([("kong.request.get_header", ("second",))]))

    def answer(name: str, args: tuple[Any, ...]) -> Any:
        if args == ("first",):
            waiting.set()
            killed.wait()
        return args[0]

    with serving(path, access):
        kong = connect(path)
        kong.event(kong.start({}), answer)
    assert got == [["second"]]


def test_a_hundred_connections_at_once(path: str) -> None:
    """Events on a hundred connections wait for Kong side by side, and each is answered."""
    inside = 0
    all_inside = Event()

    def access(kong: Kong) -> None:
        kong.write("kong.log.notice", kong.read([("kong.request.get_path", ())])[0])

    def answer(name: str, args: tuple[Any, ...]) -> Any:
        nonlocal inside
        if name == "kong.request.get_path":
            inside += 1
            if inside == 100:
                all_inside.set()
            assert all_inside.wait(20)
            return "/p"
        return None

    with serving(path, access):

        def one() -> list[Any]:
            kong = connect(path)
            return kong.event(kong.start({}), answer)

        greenlets = [gevent.spawn(one) for _ in range(100)]
        gevent.joinall(greenlets, raise_error=True)
    assert all((greenlet.value or [])[-1] == ("kong.log.notice", ("/p",)) for greenlet in greenlets)


def test_commands_sent_together_are_answered_in_order(path: str) -> None:
    """Commands that arrive in one read are each answered."""
    with serving(path, set_header):
        kong = connect(path)
        kong.sock.sendall(b"".join(frame(encode_call(GetPluginNames(number))) for number in range(1, 6)))
        assert [decode_return(kong.frame()).sequence for _ in range(5)] == [1, 2, 3, 4, 5]


def test_a_start_is_always_answered_with_a_valid_id(path: str) -> None:
    """Even a configuration that is no JSON gets an instance, and its requests the answer 500."""
    with serving(path, set_header):
        kong = connect(path)
        assert 0 < kong.start(b"{no json") < 2**31
        assert 0 < kong.start(b"[]") < 2**31


def test_commands_of_the_codec_decode_as_they_were() -> None:
    """Every command survives encoding, with ids and sequences at their limits."""
    for command in (
        GetPluginNames(1),
        GetPluginInfo(2, "p"),
        StartInstance(2**62, "n", b"{}"),
        GetInstanceStatus(-1, 2**31 - 1),
        CloseInstance(0, 0),
        HandleEvent(3, 2**31 - 1, "access"),
    ):
        assert decode_call(encode_call(command)) == command
    assert isinstance(decode_return(b"\x08\x06"), Done)
