"""The codec against the bytes recorded from a running Kong."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from request_callout.pdk import protobuf
from request_callout.pdk.protobuf import (
    Done,
    HandleEvent,
    InstanceStatus,
    RawBody,
    StartInstance,
    decode_call,
    decode_return,
    encode_call,
    encode_return,
)
from tests.unit.pdk.recorded import frames, lines

CONNECTIONS = (1, 2)
RECORDS = lines("protobuf.jsonl")
CALLS = [record for record in RECORDS if "method" in record]


def as_args(method: str, recorded: Any) -> tuple[Any, ...]:
    """The arguments of a recorded call as tuples in the order of the Lua PDK."""
    if isinstance(recorded, list):
        return tuple(recorded)
    if "k" in recorded:
        return (recorded["k"], recorded.get("v"))
    if method.endswith("set_raw_body"):
        return (base64.b64decode(recorded["v"]),)
    if "v" in recorded:
        return (recorded["v"],)
    return (recorded,) if recorded else ()


def as_result(method: str, recorded: Any) -> Any:
    """The reply of a recorded call in the normal form."""
    kind = protobuf.METHODS[method].result.name
    if kind in ("String", "Int", "Number"):
        return recorded.get("v")
    if kind == "UriCapturesResult":
        unnamed = [base64.b64decode(group).decode() for group in recorded.get("unnamed", ())]
        named = {name: base64.b64decode(group).decode() for name, group in recorded.get("named", {}).items()}
        return {"unnamed": unnamed, "named": named}
    if kind == "RawBodyResult":
        if "body_filepath" in recorded:
            return RawBody(path=recorded["body_filepath"])
        return RawBody(content=base64.b64decode(recorded["content"]))
    if kind in ("Value", "Struct"):
        return recorded
    if kind in ("Route", "Service", "Consumer", "AuthenticatedCredential"):
        if not recorded:
            return None
        flags = {"strip_path": False, "preserve_host": False} if kind == "Route" else {}
        return flags | {name: int(v) if name.endswith("_at") else v for name, v in recorded.items()}
    return None


def recorded_exchange() -> list[tuple[str, bytes, bytes | None]]:
    """Each recorded call with the bytes of its arguments and of its reply.

    None stands for no reply: after an exit, and for the one reply with a body's path, whose bytes were not recorded.
    """
    exchange: list[tuple[str, bytes, bytes | None]] = []
    for connection in CONNECTIONS:
        to_server = iter(frames(connection, "kong"))
        from_server = iter(frames(connection, "plugin"))
        for command in to_server:
            if not isinstance(decode_call(command), HandleEvent):
                next(from_server)
                continue
            while name := next(from_server):
                arguments = next(from_server)
                reply = next(to_server, None) if "reply_hex" in CALLS[len(exchange)] else None
                exchange.append((name.decode(), arguments, reply))
                if name == b"kong.response.exit":
                    break
            else:
                assert isinstance(decode_return(next(from_server)), Done)
    return exchange


EXCHANGE = recorded_exchange()


def test_the_recorded_frames_are_the_listed_calls_in_order() -> None:
    """Cutting the recorded bytes into frames gives the calls of the listing, one for one."""
    assert [name for name, _, _ in EXCHANGE] == [call["method"] for call in CALLS]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_recorded_arguments_decode_to_the_listed_ones(number: int) -> None:
    """The argument message of every recorded call decodes to the arguments in the listing."""
    name, arguments, _ = EXCHANGE[number]
    decoded = protobuf.method(name).decode_args(arguments)
    if "args" not in CALLS[number]:
        assert name == "kong.response.exit"
        assert decoded[0] in range(100, 600)
    else:
        assert decoded == as_args(name, CALLS[number]["args"])


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_recorded_replies_decode_to_the_listed_ones(number: int) -> None:
    """The reply to every recorded call decodes to the value in the listing."""
    name, _, reply = EXCHANGE[number]
    if reply is None:
        assert name in ("kong.response.exit", "kong.request.get_raw_body")
        return
    assert reply.hex() == CALLS[number]["reply_hex"]
    method = protobuf.method(name)
    expected = as_result(name, CALLS[number]["reply"])
    assert method.decode_result(reply) == (method.absent if expected is None else expected)


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_our_arguments_decode_to_the_recorded_ones(number: int) -> None:
    """What we send for a recorded call reads as the recorded message does, but for nulls, which are sent as nil."""
    name, arguments, _ = EXCHANGE[number]
    method = protobuf.method(name)
    recorded = method.decode_args(arguments)
    ours = method.decode_args(method.encode_args(recorded))
    assert ours == tuple(without_nulls(argument) for argument in recorded)


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_our_replies_decode_to_the_recorded_ones(number: int) -> None:
    """What Kong's side of the codec sends for a recorded reply reads as the recorded message does."""
    name, _, reply = EXCHANGE[number]
    if reply is None:
        return
    method = protobuf.method(name)
    value = method.decode_result(reply)
    assert method.decode_result(method.encode_result(value)) == value


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [False if element is None else without_nulls(element) for element in value]
    return value


def test_the_recorded_commands_and_answers_are_read_and_written_alike() -> None:
    """Commands and answers of the recording decode, and encode to messages that decode to the same."""
    kinds = set()
    for connection in CONNECTIONS:
        to_server = frames(connection, "kong")
        command = decode_call(to_server[0])
        kinds.add(type(command))
        assert decode_call(encode_call(command)) == command
        assert not isinstance(command, StartInstance) or command.name == "request-callout"
        last = decode_return(frames(connection, "plugin")[-1])
        assert decode_return(encode_return(last)) == last
    assert kinds == {StartInstance, HandleEvent}
    started = decode_return(frames(1, "plugin")[0])
    assert started == InstanceStatus(sequence=2, name="request-callout", instance_id=1, started_at=0)
