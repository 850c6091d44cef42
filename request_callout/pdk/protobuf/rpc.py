"""``RpcCall`` and ``RpcReturn``: what Kong asks of the server, and its answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from request_callout.pdk.protobuf.values import decode_value, encode_value
from request_callout.pdk.protobuf.wire import FrameError, delimited, fields, read_varint, signed_32, signed_64, varint
from request_callout.values import Value, raw, text


@dataclass(frozen=True, slots=True)
class GetPluginNames:
    """Which plugins the server has; answered with ``PluginNames``."""

    sequence: int


@dataclass(frozen=True, slots=True)
class GetPluginInfo:
    """What one plugin is; answered with ``PluginInfo``."""

    sequence: int
    name: str


@dataclass(frozen=True, slots=True)
class StartInstance:
    """A plugin configuration, as JSON, that events will name by an id; answered with ``InstanceStatus``."""

    sequence: int
    name: str
    config: bytes


@dataclass(frozen=True, slots=True)
class GetInstanceStatus:
    """Answered with ``InstanceStatus``."""

    sequence: int
    instance_id: int


@dataclass(frozen=True, slots=True)
class CloseInstance:
    """One worker of Kong will not use this instance any more; answered with ``InstanceStatus``."""

    sequence: int
    instance_id: int


@dataclass(frozen=True, slots=True)
class HandleEvent:
    """One request in one phase; calls of the PDK come before its answer, which is a ``Done``."""

    sequence: int
    instance_id: int
    event_name: str


RpcCall: TypeAlias = GetPluginNames | GetPluginInfo | StartInstance | GetInstanceStatus | CloseInstance | HandleEvent


@dataclass(frozen=True, slots=True)
class Done:
    """The answer that holds nothing but the sequence number."""

    sequence: int


@dataclass(frozen=True, slots=True)
class PluginNames:
    """The names of the server's plugins."""

    sequence: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What one plugin is; times in seconds since the epoch, ``schema`` as JSON."""

    sequence: int
    name: str
    updated_at: int
    loaded_at: int
    phases: tuple[str, ...]
    version: str
    priority: int
    schema: str


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """An instance; ``config`` is left out by this server, since it may hold secrets and Kong does not need it."""

    sequence: int
    name: str
    instance_id: int
    started_at: int = 0
    config: Value = None


RpcReturn: TypeAlias = Done | PluginNames | PluginInfo | InstanceStatus

_NAMES, _INFO, _START, _STATUS, _CLOSE, _EVENT = (number << 3 | 2 for number in range(31, 37))
_SHORT_COMMAND = 48
"""Bytes of a command that may be an event, and never holds a configuration."""
_RETURN_NAMES, _RETURN_INFO, _RETURN_STATUS = (number << 3 | 2 for number in range(31, 34))


def encode_call(call: RpcCall) -> bytes:
    """Kong's side: the content of the command's frame."""
    if isinstance(call, HandleEvent):
        tag, content = _EVENT, _int(b"\x08", call.instance_id) + _text(b"\x12", call.event_name)
    elif isinstance(call, StartInstance):
        tag, content = _START, _text(b"\x0a", call.name) + delimited(b"\x12", call.config)
    elif isinstance(call, GetPluginInfo):
        tag, content = _INFO, _text(b"\x0a", call.name)
    elif isinstance(call, GetPluginNames):
        tag, content = _NAMES, b""
    else:
        tag = _CLOSE if isinstance(call, CloseInstance) else _STATUS
        content = _int(b"\x08", call.instance_id)
    return _int(b"\x08", call.sequence) + delimited(varint(tag), content)


def decode_call(data: bytes) -> RpcCall:
    """The server's side: the command in a frame. Raises FrameError, also for a frame without a known command."""
    if len(data) <= _SHORT_COMMAND and data[:1] == b"\x08":
        number, at = read_varint(data, 1, len(data))
        event = _event(data[at:])
        if event is not None:
            return HandleEvent(signed_64(number), *event)
    sequence = 0
    command: tuple[int, int, int] | None = None
    for tag, number, start, end in fields(data, 0, len(data)):
        if tag == 0x08:
            sequence = signed_64(number)
        elif _NAMES <= tag <= _EVENT and tag & 7 == 2:
            command = tag, start, end
    if command is None:
        raise FrameError("a frame without a command that this server knows")
    tag, start, end = command
    name = b""
    payload = b""
    instance_id = 0
    for inner, number, at, stop in fields(data, start, end):
        if inner == 0x0A:
            name = data[at:stop]
        elif inner == 0x12:
            payload = data[at:stop]
        elif inner == 0x08:
            instance_id = signed_32(number)
    if tag == _EVENT:
        return HandleEvent(sequence, instance_id, text(payload))
    if tag == _START:
        return StartInstance(sequence, text(name), payload)
    if tag == _CLOSE:
        return CloseInstance(sequence, instance_id)
    if tag == _STATUS:
        return GetInstanceStatus(sequence, instance_id)
    return GetPluginInfo(sequence, text(name)) if tag == _INFO else GetPluginNames(sequence)


@lru_cache(maxsize=1024)
def _event(content: bytes) -> tuple[int, str] | None:
    """Instance and event of a command without its sequence number; None if it is no plain event.

    Events come by the thousand, and those of one instance differ in their sequence number only.
    """
    found = list(fields(content, 0, len(content)))
    if len(found) != 1 or found[0][0] != _EVENT:
        return None
    instance_id, name = 0, b""
    for tag, number, start, end in fields(content, found[0][2], found[0][3]):
        if tag == 0x08:
            instance_id = signed_32(number)
        elif tag == 0x12:
            name = content[start:end]
    return instance_id, text(name)


def encode_return(answer: RpcReturn) -> bytes:
    """The server's side: the content of the answer's frame."""
    head = _int(b"\x08", answer.sequence)
    if isinstance(answer, Done):
        return head
    if isinstance(answer, InstanceStatus):
        content = _text(b"\x0a", answer.name) + _int(b"\x10", answer.instance_id)
        if answer.config is not None:
            content += delimited(b"\x1a", encode_value(answer.config))
        return head + delimited(varint(_RETURN_STATUS), content + _int(b"\x20", answer.started_at))
    if isinstance(answer, PluginNames):
        content = b"".join([delimited(b"\x0a", raw(name)) for name in answer.names])
        return head + delimited(varint(_RETURN_NAMES), content)
    content = (
        _text(b"\x0a", answer.name)
        + _int(b"\x10", answer.updated_at)
        + _int(b"\x18", answer.loaded_at)
        + b"".join([delimited(b"\x22", raw(phase)) for phase in answer.phases])
        + _text(b"\x2a", answer.version)
        + _int(b"\x30", answer.priority)
        + _text(b"\x3a", answer.schema)
    )
    return head + delimited(varint(_RETURN_INFO), content)


def decode_return(data: bytes) -> RpcReturn:
    """Kong's side: the answer in a frame. Raises FrameError."""
    sequence = 0
    found: tuple[int, int, int] | None = None
    for tag, number, start, end in fields(data, 0, len(data)):
        if tag == 0x08:
            sequence = signed_64(number)
        elif tag in (_RETURN_NAMES, _RETURN_INFO, _RETURN_STATUS):
            found = tag, start, end
    if found is None:
        return Done(sequence)
    tag, start, end = found
    if tag == _RETURN_NAMES:
        return PluginNames(sequence, tuple(text(data[at:to]) for t, _, at, to in fields(data, start, end) if t == 0x0A))
    if tag == _RETURN_STATUS:
        return _decode_status(sequence, data, start, end)
    return _decode_info(sequence, data, start, end)


def _decode_status(sequence: int, data: bytes, start: int, end: int) -> InstanceStatus:
    name, instance_id, started_at = "", 0, 0
    config: Value = None
    for tag, number, at, stop in fields(data, start, end):
        if tag == 0x0A:
            name = text(data[at:stop])
        elif tag == 0x10:
            instance_id = signed_32(number)
        elif tag == 0x1A:
            config = decode_value(data, at, stop)
        elif tag == 0x20:
            started_at = signed_64(number)
    return InstanceStatus(sequence, name, instance_id, started_at, config)


def _decode_info(sequence: int, data: bytes, start: int, end: int) -> PluginInfo:
    texts = {0x0A: "", 0x2A: "", 0x3A: ""}
    numbers = {0x10: 0, 0x18: 0, 0x30: 0}
    phases = []
    for tag, number, at, stop in fields(data, start, end):
        if tag in texts:
            texts[tag] = text(data[at:stop])
        elif tag in numbers:
            numbers[tag] = number
        elif tag == 0x22:
            phases.append(text(data[at:stop]))
    return PluginInfo(
        sequence=sequence,
        name=texts[0x0A],
        updated_at=signed_64(numbers[0x10]),
        loaded_at=signed_64(numbers[0x18]),
        phases=tuple(phases),
        version=texts[0x2A],
        priority=signed_32(numbers[0x30]),
        schema=texts[0x3A],
    )


def _text(tag: bytes, value: str) -> bytes:
    return delimited(tag, raw(value)) if value else b""


def _int(tag: bytes, number: int) -> bytes:
    return tag + varint(number) if number else b""
