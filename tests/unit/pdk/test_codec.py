"""The codec against Google's protobuf package, and against input that is broken."""

from __future__ import annotations

import contextlib
import math
from collections.abc import MutableSequence
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from request_callout.pdk import protobuf
from request_callout.pdk.protobuf import (
    METHODS,
    CloseInstance,
    Done,
    FrameDecoder,
    FrameError,
    GetInstanceStatus,
    GetPluginInfo,
    GetPluginNames,
    HandleEvent,
    InstanceStatus,
    PluginInfo,
    PluginNames,
    RawBody,
    StartInstance,
    as_kong_reads,
    decode_call,
    decode_return,
    encode_call,
    encode_return,
    frame,
)
from request_callout.pdk.protobuf.messages import BY_NAME
from request_callout.pdk.protobuf.values import MAX_DEPTH, decode_value, encode_value
from tests.unit.pdk.reference import MESSAGES, parse, plain, value_message

NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False).map(
    lambda n: int(n) if n.is_integer() and abs(n) <= 2**53 else n
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=200)
KINDS = {"string": TEXTS, "int32": INT32, "int64": INT64, "bool": st.booleans(), "bytes": st.binary(max_size=200)}


def sent(value: Any) -> Any:
    """What is sent for a value: null members left out, other nulls as false."""
    if isinstance(value, dict):
        return {name: sent(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [sent(element) for element in value]
    return False if value is None else value


@given(VALUES)
def test_google_reads_the_values_we_send(value: Any) -> None:
    """Google's package reads a value as it was, but for nulls: left out of dicts, false elsewhere."""
    assert plain(parse("Value", encode_value(value))) == sent(value)


@given(VALUES)
def test_we_read_the_values_google_sends(value: Any) -> None:
    """A value from Google's package decodes to the same, with types kept."""
    data = value_message("Value", value).SerializeToString()
    decoded = decode_value(data, 0, len(data))
    assert typed(decoded) == typed(value)


def typed(value: Any) -> Any:
    """A value with the types of what is in it, so that 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return {name: typed(member) for name, member in value.items()}
    return [typed(element) for element in value] if isinstance(value, list) else (type(value), value)


@given(st.binary(max_size=60))
def test_text_that_is_no_utf_8_comes_through(data: bytes) -> None:
    """Any bytes survive as text in headers and arguments, both ways."""
    text = data.decode("utf-8", "surrogateescape")
    set_header = METHODS["kong.service.request.set_header"]
    assert set_header.decode_args(set_header.encode_args((text, [text]))) == (text, [text])
    assert data in set_header.encode_args(("x", text))
    assert METHODS["kong.request.get_header"].decode_result(b"\x0a" + bytes((len(data),)) + data) == text


def test_numbers_at_the_limits_of_a_double() -> None:
    """Integral numbers up to 2^53 are int, all others float; infinity and NaN come through; more is refused."""
    for number in (0, -1, 2**53, -(2**53), 1.5, 5e-324, 1e300, math.inf, -math.inf):
        data = encode_value(number)
        decoded = decode_value(data, 0, len(data))
        assert decoded == number
        assert type(decoded) is type(number)
    assert math.isnan(decode_value(encode_value(math.nan), 0, 9))
    with pytest.raises(ValueError, match="too large"):
        encode_value(10**400)


def test_nesting_is_bounded_both_ways() -> None:
    """Values nested deeper than the limit are refused when sent and when received."""
    value: Any = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    data = encode_value(value)
    assert decode_value(data, 0, len(data)) == value
    with pytest.raises(ValueError, match="nested"):
        encode_value([[value]])
    deep = b""
    for _ in range(MAX_DEPTH + 2):
        content = b"\x0a" + protobuf.wire.varint(len(deep)) + deep
        deep = b"\x32" + protobuf.wire.varint(len(content)) + content
    with pytest.raises(FrameError, match="nested"):
        decode_value(deep, 0, len(deep))


@st.composite
def filled(draw: st.DrawFn, name: str) -> Any:
    """A message of Google's package with arbitrary content."""
    message = MESSAGES[name]()
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None or not draw(st.booleans()):
            continue
        kind = {1: "double", 3: "int64", 5: "int32", 8: "bool", 9: "string", 12: "bytes"}.get(field.type)
        target = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, value in draw(st.dictionaries(TEXTS, KINDS["bytes"], max_size=3)).items():
                target[key] = value
        elif kind is None:
            target.CopyFrom(
                value_message(field.message_type.name, draw(st.dictionaries(TEXTS, VALUES, max_size=3)))
                if field.message_type.name in ("Struct", "Value")
                else draw(filled(field.message_type.name))
            )
        elif isinstance(target, MutableSequence):
            target.extend(draw(st.lists(KINDS[kind], max_size=3)))
        else:
            setattr(message, field.name, draw(NUMBERS if kind == "double" else KINDS[kind]))
    return message


RECORDS = ("Route", "Service", "Consumer", "AuthenticatedCredential", "UriCapturesResult")
WRAPPERS = ("Bool", "Int", "Number", "String", "Target", "ConsumerSpec", "AuthenticateArgs")


@pytest.mark.parametrize("name", RECORDS + WRAPPERS)
@given(st.data())
def test_our_messages_are_googles(name: str, data: st.DataObject) -> None:
    """A message decoded and encoded here is the same to Google's package, and nothing of it is lost."""
    message = data.draw(filled(name))
    if name == "AuthenticateArgs":
        message = without_empty(message)
    codec = BY_NAME[name]
    ours = codec.decode(message.SerializeToString())
    assert parse(name, codec.encode({} if ours is None and name in RECORDS else ours)) == message


def without_empty(message: Any) -> Any:
    """The message without sub-messages that say nothing: a record that is empty is nil in Kong."""
    for field, content in message.ListFields():
        if isinstance(content, Message) and not content.ByteSize():
            message.ClearField(field.name)
    return message


@given(st.integers(100, 599), st.none() | st.binary(max_size=300), st.dictionaries(TEXTS, st.lists(TEXTS)))
def test_google_reads_our_exits(status: int, body: bytes | None, headers: dict[str, list[str]]) -> None:
    """The arguments of an exit are status, body and headers; a missing body is empty."""
    method = METHODS["kong.response.exit"]
    data = method.encode_args((status, body, headers))
    message = parse("ExitArgs", data)
    assert (message.status, message.body, plain(message.headers)) == (status, body or b"", headers)
    assert method.decode_args(data) == (status, body, headers)


@given(TEXTS, VALUES)
def test_google_reads_our_pairs(key: str, value: Any) -> None:
    """A key and a value are read by Google's package as they were."""
    message = parse("KV", METHODS["kong.ctx.shared.set"].encode_args((key, value)))
    assert (message.k, plain(message.v)) == (key, sent(value))


@pytest.mark.parametrize("body", [RawBody(b""), RawBody(b"\xff"), RawBody(path="/x"), RawBody(error="no")])
def test_google_reads_our_bodies(body: RawBody) -> None:
    """A raw body is its content, its file or an error, whichever it is."""
    method = METHODS["kong.request.get_raw_body"]
    data = method.encode_result(body)
    message = parse("RawBodyResult", data)
    kinds = {"content": body.content, "body_filepath": body.path, "error": body.error}
    assert getattr(message, message.WhichOneof("result")) == kinds[message.WhichOneof("result")]
    assert method.decode_result(data) == body


CALLS = st.one_of(
    st.builds(GetPluginNames, INT64),
    st.builds(GetPluginInfo, INT64, TEXTS),
    st.builds(StartInstance, INT64, TEXTS, st.binary()),
    st.builds(GetInstanceStatus, INT64, INT32),
    st.builds(CloseInstance, INT64, INT32),
    st.builds(HandleEvent, INT64, INT32, TEXTS),
)
RETURNS = st.one_of(
    st.builds(Done, INT64),
    st.builds(PluginNames, INT64, st.lists(TEXTS).map(tuple)),
    st.builds(PluginInfo, INT64, TEXTS, INT64, INT64, st.lists(TEXTS).map(tuple), TEXTS, INT32, TEXTS),
    st.builds(InstanceStatus, INT64, TEXTS, INT32, INT64, VALUES.map(sent)),
)


@given(CALLS)
def test_commands_are_googles(call: Any) -> None:
    """Commands go both ways, and Google's package writes what we read."""
    data = encode_call(call)
    assert decode_call(data) == call
    assert decode_call(parse("RpcCall", data).SerializeToString()) == call
    assert parse("RpcCall", data).sequence == call.sequence


@given(RETURNS)
def test_answers_are_googles(answer: Any) -> None:
    """Answers go both ways, and Google's package writes what we read."""
    data = encode_return(answer)
    assert decode_return(data) == answer
    assert decode_return(parse("RpcReturn", data).SerializeToString()) == answer


@given(st.binary(max_size=80))
def test_broken_messages_end_in_frame_error(data: bytes) -> None:
    """Whatever bytes come, decoding gives a value or FrameError."""
    decoders = [decode_call, decode_return, *(message.decode for message in BY_NAME.values())]
    for decode in decoders:
        with contextlib.suppress(FrameError):
            decode(data)


@given(CALLS, st.data())
def test_cut_messages_are_never_misread(call: Any, data: st.DataObject) -> None:
    """A command without its last bytes is an error, or one whose last field is missing, but never raises otherwise."""
    whole = encode_call(call)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with contextlib.suppress(FrameError):
        assert decode_call(cut) != call


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_frames_come_out_whole_however_they_arrive(contents: list[bytes], data: st.DataObject) -> None:
    """Frames that arrive in pieces of any size come out as they were sent."""
    stream = b"".join(map(frame, contents))
    decoder = FrameDecoder()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        decoder.feed(stream[:size])
        stream = stream[size:]
        while (content := decoder.next_frame()) is not None:
            found.append(content)
    assert found == contents
    assert decoder.pending_bytes == 0


def test_a_frame_over_the_limit_is_refused() -> None:
    """A frame may have the limit's size and not a byte more."""
    decoder = FrameDecoder(max_frame_bytes=3)
    decoder.feed(frame(b"123") + frame(b"1234"))
    assert decoder.next_frame() == b"123"
    with pytest.raises(FrameError, match="limit"):
        decoder.next_frame()


def test_unknown_fields_are_skipped() -> None:
    """Fields that nobody knows, of every wire type, change nothing."""
    unknown = b"\xf8\x07\x96\x01" + b"\xf9\x07" + bytes(8) + b"\xfa\x07\x02hi" + b"\xfd\x07" + bytes(4)
    for message, data in (("String", b"\x0a\x01x"), ("KV", b"\x0a\x01k\x12\x02\x20\x01"), ("Struct", b"")):
        codec = BY_NAME[message]
        assert codec.decode(unknown + data + unknown) == codec.decode(data)
    value = unknown + b"\x20\x01" + unknown
    assert decode_value(value, 0, len(value)) is True
    assert decode_call(unknown + encode_call(CloseInstance(1, 2)) + unknown) == CloseInstance(1, 2)


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("kong.request.get_header", ()),
        ("kong.request.get_header", (None,)),
        ("kong.request.get_header", ({},)),
        ("kong.request.get_headers", ("many",)),
        ("kong.request.get_headers", (1.5,)),
        ("kong.response.set_status", (2**31,)),
        ("kong.response.exit", (200, {"a": 1}, None)),
        ("kong.service.request.set_headers", ("text",)),
        ("kong.service.set_target", ("host", None)),
        ("kong.log.set_serialize_value", ("k", 1, {"mode": "add"})),
        ("kong.ctx.shared.set", ("k", object())),
    ],
)
def test_wrong_arguments_are_refused(method: str, args: tuple[Any, ...]) -> None:
    """Arguments that Kong's function would not take raise TypeError or ValueError here."""
    with pytest.raises((TypeError, ValueError)):
        METHODS[method].encode_call(args)


def test_arguments_have_luas_defaults() -> None:
    """Numbers pass as text, headers and query are asked for in full, log arguments are words as in Lua."""
    assert METHODS["kong.request.get_header"].decode_args(METHODS["kong.request.get_header"].encode_args((5,))) == (
        "5",
    )
    for name in ("kong.request.get_headers", "kong.request.get_query"):
        assert METHODS[name].decode_args(METHODS[name].encode_args(())) == (1000,)
    log = METHODS["kong.log.err"]
    assert log.decode_args(log.encode_args((None, True, 1, "x"))) == ("nil", "true", 1, "x")


def test_absent_results_are_nil_or_empty_as_in_lua() -> None:
    """An empty reply is nil for a header, the empty text for a path, and None for a consumer."""
    assert METHODS["kong.request.get_header"].decode_result(b"") is None
    assert METHODS["kong.request.get_raw_query"].decode_result(b"") == ""
    assert METHODS["kong.client.get_consumer"].decode_result(b"") is None
    assert METHODS["kong.ctx.shared.get"].decode_result(b"\x08\x01") is None
    assert METHODS["kong.request.get_uri_captures"].decode_result(b"") == {"unnamed": [], "named": {}}


def test_kong_reads_false_as_nil_and_null_as_a_word() -> None:
    """What Kong makes of a received value is what was recorded from it."""
    assert as_kong_reads({"a": False, "b": None, "c": [1, None, False], "d": {}}) == {
        "b": "NULL_VALUE",
        "c": [1, "NULL_VALUE", None],
        "d": {},
    }


def test_no_method_beyond_the_table() -> None:
    """A name that is not in the table is an error."""
    assert len(METHODS) == 74
    with pytest.raises(FrameError, match=r"kong\.vault\.get"):
        protobuf.method("kong.vault.get")
