"""The messages of the PDK as plain values, both directions.

A message here is a pair of functions between its bytes and the value that stands for it:

- the wrappers (``String``, ``Int``, ``Bool``, ``Number``, ``ByteString``) are their one value;
- ``KV`` is ``(key, value)``, ``Target`` ``(host, port)``, ``ExitArgs`` ``(status, body, headers)``, ``ConsumerSpec``
  ``(id, by_username)``, ``AuthenticateArgs`` ``(consumer, credential)``: the arguments of the PDK function in order;
- records (``Route``, ``Service``, ``Consumer``, ...) are dicts with the names Kong gives them, absent fields left out,
  booleans always there;
- ``UriCapturesResult`` is ``{"unnamed": [...], "named": {...}}``, ``RawBodyResult`` a ``RawBody``.

An absent scalar is what ``absent`` says where a message is bound to a method (``methods``). Text is as in
``request_callout.values``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from request_callout.pdk.protobuf.message import Message, as_bytes, as_int, kind_of
from request_callout.pdk.protobuf.records import CONSUMER, CREDENTIAL, MEMORY_STATS, ROUTE, SERVICE
from request_callout.pdk.protobuf.values import (
    NULL,
    decode_list,
    decode_struct,
    decode_value,
    encode_list,
    encode_struct,
    encode_value,
)
from request_callout.pdk.protobuf.wire import (
    delimited,
    double,
    fields,
    read_double,
    signed_32,
    varint,
)
from request_callout.values import raw, text


@dataclass(frozen=True, slots=True)
class RawBody:
    """What ``kong.request.get_raw_body`` gives: the body, or the file where Kong keeps it, or why there is neither."""

    content: bytes = b""
    path: str | None = None
    error: str | None = None


# Wrappers


def _encode_empty(_: Any) -> bytes:
    return b""


def _decode_empty(data: bytes) -> None:
    for _ in fields(data, 0, len(data)):
        pass


def _encode_text(value: Any) -> bytes:
    content = as_bytes(value)
    return delimited(b"\x0a", content) if content else b""


def _encode_nullable_text(value: Any) -> bytes:
    return b"" if value is None else _encode_text(value)


def _decode_text(data: bytes) -> str | None:
    content = _decode_bytes(data)
    return None if content is None else text(content)


def _decode_bytes(data: bytes) -> bytes | None:
    # One field and nothing else is what always comes.
    if not data:
        return None
    if data[0] == 0x0A and len(data) > 1 and data[1] < 128 and len(data) == data[1] + 2:
        return data[2:]
    content: bytes | None = None
    for tag, _, start, end in fields(data, 0, len(data)):
        if tag == 0x0A:
            content = data[start:end]
    return content


def _encode_int(value: Any) -> bytes:
    if value is None:
        return b""
    number = as_int(value)
    return b"\x08" + varint(number) if number else b""


def _decode_int(data: bytes) -> int | None:
    result: int | None = None
    for tag, number, _, _ in fields(data, 0, len(data)):
        if tag == 0x08:
            result = signed_32(number)
    return result


def _encode_bool(value: Any) -> bytes:
    return b"\x08\x01" if value else b""


def _decode_bool(data: bytes) -> bool:
    result = False
    for tag, number, _, _ in fields(data, 0, len(data)):
        if tag == 0x08:
            result = number != 0
    return result


def _encode_number(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"a number expected, got a {kind_of(value)}")
    return b"\x09" + double(value) if value else b""


def _decode_number(data: bytes) -> int | float | None:
    result: int | float | None = None
    for tag, _, start, end in fields(data, 0, len(data)):
        if tag == 0x09:
            number = read_double(data, start, end)
            result = int(number) if number.is_integer() and abs(number) <= 2**53 else number
    return result


# Google's values at the top of a message


def _encode_value_result(value: Any) -> bytes:
    return NULL if value is None else encode_value(value)


def _decode_value(data: bytes) -> Any:
    return decode_value(data, 0, len(data))


def _encode_struct(value: Any) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, Mapping):
        if isinstance(value, list) and not value:
            return b""  # an empty Lua table
        raise TypeError(f"a table of names and values expected, got a {kind_of(value)}")
    return encode_struct(value)


def _decode_struct(data: bytes) -> dict[str, Any]:
    return decode_struct(data, 0, len(data))


def _decode_list(data: bytes) -> list[Any]:
    return decode_list(data, 0, len(data))


# Arguments of several parts


def _encode_kv(value: Any) -> bytes:
    key, content = value
    return delimited(b"\x0a", as_bytes(key)) + delimited(b"\x12", encode_value(content))


def _decode_kv(data: bytes) -> tuple[str, Any]:
    key, content = "", None
    for tag, _, start, end in fields(data, 0, len(data)):
        if tag == 0x0A:
            key = text(data[start:end])
        elif tag == 0x12:
            content = decode_value(data, start, end)
    return key, content


def _encode_exit(value: Any) -> bytes:
    status, body, headers = value
    encoded = b"\x08" + varint(as_int(status))
    if body is not None:
        encoded += delimited(b"\x12", as_bytes(body))
    if headers:
        encoded += delimited(b"\x1a", _encode_struct(headers))
    return encoded


def _decode_exit(data: bytes) -> tuple[int, bytes | None, dict[str, Any]]:
    status = 0
    body: bytes | None = None
    headers: dict[str, Any] = {}
    for tag, number, start, end in fields(data, 0, len(data)):
        if tag == 0x08:
            status = signed_32(number)
        elif tag == 0x12:
            body = data[start:end]
        elif tag == 0x1A:
            headers.update(decode_struct(data, start, end))
    return status, body, headers


def _encode_target(value: Any) -> bytes:
    host, port = value
    return delimited(b"\x0a", as_bytes(host)) + b"\x10" + varint(as_int(port))


def _decode_target(data: bytes) -> tuple[str, int]:
    host, port = "", 0
    for tag, number, start, end in fields(data, 0, len(data)):
        if tag == 0x0A:
            host = text(data[start:end])
        elif tag == 0x10:
            port = signed_32(number)
    return host, port


def _encode_consumer_spec(value: Any) -> bytes:
    identity, by_username = value
    return delimited(b"\x0a", as_bytes(identity)) + (b"\x10\x01" if by_username else b"")


def _decode_consumer_spec(data: bytes) -> tuple[str, bool]:
    identity, by_username = "", False
    for tag, number, start, end in fields(data, 0, len(data)):
        if tag == 0x0A:
            identity = text(data[start:end])
        elif tag == 0x10:
            by_username = number != 0
    return identity, by_username


def _encode_authenticate(value: Any) -> bytes:
    consumer, credential = value
    encoded = b""
    if consumer is not None:
        encoded += delimited(b"\x0a", CONSUMER.encode(consumer))
    if credential is not None:
        encoded += delimited(b"\x12", CREDENTIAL.encode(credential))
    return encoded


def _decode_authenticate(data: bytes) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    consumer = credential = None
    for tag, _, start, end in fields(data, 0, len(data)):
        if tag == 0x0A:
            consumer = CONSUMER.decode(data[start:end])
        elif tag == 0x12:
            credential = CREDENTIAL.decode(data[start:end])
    return consumer, credential


# Results of several parts


def _encode_raw_body(value: RawBody) -> bytes:
    if value.path is not None:
        return delimited(b"\x12", raw(value.path))
    if value.error is not None:
        return delimited(b"\x1a", raw(value.error))
    return delimited(b"\x0a", value.content)


def _decode_raw_body(data: bytes) -> RawBody:
    result = RawBody()
    for tag, _, start, end in fields(data, 0, len(data)):
        if tag == 0x0A:
            result = RawBody(content=data[start:end])
        elif tag == 0x12:
            result = RawBody(path=text(data[start:end]))
        elif tag == 0x1A:
            result = RawBody(error=text(data[start:end]))
    return result


def _encode_captures(value: Mapping[str, Any]) -> bytes:
    parts = [delimited(b"\x0a", as_bytes(group)) for group in value.get("unnamed") or ()]
    for name, group in (value.get("named") or {}).items():
        parts.append(delimited(b"\x12", delimited(b"\x0a", raw(name)) + delimited(b"\x12", as_bytes(group))))
    return b"".join(parts)


def _decode_captures(data: bytes) -> dict[str, Any]:
    unnamed: list[str] = []
    named: dict[str, str] = {}
    for tag, _, start, end in fields(data, 0, len(data)):
        if tag == 0x0A:
            unnamed.append(text(data[start:end]))
        elif tag == 0x12:
            name = group = ""
            for inner, _, at, stop in fields(data, start, end):
                if inner == 0x0A:
                    name = text(data[at:stop])
                elif inner == 0x12:
                    group = text(data[at:stop])
            named[name] = group
    return {"unnamed": unnamed, "named": named}


EMPTY = Message("Empty", _encode_empty, _decode_empty)
STRING = Message("String", _encode_nullable_text, _decode_text)
INT = Message("Int", _encode_int, _decode_int)
BOOL = Message("Bool", _encode_bool, _decode_bool)
NUMBER = Message("Number", _encode_number, _decode_number)
BYTE_STRING = Message("ByteString", _encode_nullable_text, _decode_bytes)
VALUE = Message("Value", _encode_value_result, _decode_value)
STRUCT = Message("Struct", _encode_struct, _decode_struct)
LIST_VALUE = Message("ListValue", encode_list, _decode_list)
KV = Message("KV", _encode_kv, _decode_kv)
EXIT_ARGS = Message("ExitArgs", _encode_exit, _decode_exit)
TARGET = Message("Target", _encode_target, _decode_target)
CONSUMER_SPEC = Message("ConsumerSpec", _encode_consumer_spec, _decode_consumer_spec)
AUTHENTICATE_ARGS = Message("AuthenticateArgs", _encode_authenticate, _decode_authenticate)
RAW_BODY_RESULT = Message("RawBodyResult", _encode_raw_body, _decode_raw_body)
URI_CAPTURES_RESULT = Message("UriCapturesResult", _encode_captures, _decode_captures)

BY_NAME: Mapping[str, Message] = {
    message.name: message
    for message in (
        EMPTY,
        STRING,
        INT,
        BOOL,
        NUMBER,
        BYTE_STRING,
        VALUE,
        STRUCT,
        LIST_VALUE,
        KV,
        EXIT_ARGS,
        TARGET,
        CONSUMER_SPEC,
        AUTHENTICATE_ARGS,
        RAW_BODY_RESULT,
        URI_CAPTURES_RESULT,
        ROUTE,
        SERVICE,
        CONSUMER,
        CREDENTIAL,
        MEMORY_STATS,
    )
}
