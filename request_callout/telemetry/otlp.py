"""Spans in the wire format of OTLP: packed once, when they have ended, into bytes that only have to be joined.

Spans are made while requests wait. As objects of OpenTelemetry's SDK, packed by its exporter, one costs many times what
it costs here; tests compare the two byte for byte. Field numbers are those of
https://github.com/open-telemetry/opentelemetry-proto (``trace/v1``, ``common/v1``, ``resource/v1``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from request_callout.pdk.protobuf.wire import FrameError, delimited, double, fields, varint

Value: TypeAlias = "str | bool | int | float"

INTERNAL, CLIENT = b"\x30\x01", b"\x30\x03"
"""The kind of a span."""
OK = b"\x7a\x00"
"""The status of a span that has no error: OTLP calls it unset."""

_TIMES = struct.Struct("<BQBQ")
_TIME = struct.Struct("<BQ")
_LOCAL, _REMOTE = struct.pack("<I", 0x100), struct.pack("<I", 0x300)
"""Flags that say whether the parent, or what is linked, is of another process."""


def _text(value: str) -> bytes:
    return value.encode("utf-8", "replace")  # a lone surrogate would make the collector refuse the whole batch


def _value(value: object) -> bytes:
    """``AnyValue``."""
    if isinstance(value, str):
        return delimited(b"\x0a", _text(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + varint(value)
    if isinstance(value, float):
        return b"\x21" + double(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return delimited(b"\x2a", b"".join(delimited(b"\x0a", _value(one)) for one in value))
    return _value(str(value))


def _pair(key: str, value: object) -> bytes:
    """``KeyValue``."""
    return delimited(b"\x0a", _text(key)) + delimited(b"\x12", _value(value))


def attribute(key: str, value: Value, longest: int | None = None) -> bytes:
    """A span's attribute, its text cut after ``longest`` characters."""
    return delimited(b"\x4a", _pair(key, value[:longest] if isinstance(value, str) else value))


def error(reason: str | None = None) -> bytes:
    """The status of a span that has one."""
    return delimited(b"\x7a", (delimited(b"\x12", _text(reason)) if reason else b"") + b"\x18\x02")


@lru_cache(1024)
def named(name: str, kind: bytes) -> bytes:
    """A span's name and kind."""
    return delimited(b"\x2a", _text(name)) + kind


def event(name: str, at_ns: int, attributes: Mapping[str, Value], most: int | None, longest: int | None) -> bytes:
    """An event of a span, with the last ``most`` of its attributes at most."""
    kept = [(key, value[:longest] if isinstance(value, str) else value) for key, value in attributes.items()]
    dropped = 0 if most is None else max(0, len(kept) - most)
    parts = [_TIME.pack(0x09, at_ns), delimited(b"\x12", _text(name))]
    parts += [delimited(b"\x1a", _pair(key, value)) for key, value in kept[dropped:]]
    if dropped:
        parts.append(b"\x20" + varint(dropped))
    return delimited(b"\x5a", b"".join(parts))


def link(trace_id: bytes, span_id: bytes) -> bytes:
    """A link to a span of this process."""
    return delimited(b"\x6a", b"\x0a\x10" + trace_id + b"\x12\x08" + span_id + b"\x35" + _LOCAL)


@dataclass(slots=True)
class Span:
    """A span on its way to its end: ids are bytes, times those of ``time.time_ns()``, the rest is packed already."""

    trace_id: bytes
    id: bytes
    state: str
    parent_id: bytes | None
    named: bytes
    began_ns: int
    ended_ns: int = 0
    has_remote_parent: bool = False
    attributes: list[bytes] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    dropped_events: int = 0
    links: bytes = b""
    status: bytes = OK

    def packed(self, most_attributes: int | None = None) -> bytes:
        """The span as a field of ``ScopeSpans``, with the last ``most_attributes`` of its attributes at most."""
        attributes, dropped = self.attributes, 0
        if most_attributes is not None and len(attributes) > most_attributes:
            dropped = len(attributes) - most_attributes
            attributes = attributes[dropped:]
        return delimited(
            b"\x12",
            b"".join(
                (
                    b"\x0a\x10" + self.trace_id + b"\x12\x08" + self.id,
                    delimited(b"\x1a", _text(self.state)) if self.state else b"",
                    b"\x22\x08" + self.parent_id if self.parent_id is not None else b"",
                    self.named,
                    _TIMES.pack(0x39, self.began_ns, 0x41, self.ended_ns),
                    *attributes,
                    b"\x50" + varint(dropped) if dropped else b"",
                    *self.events,
                    b"\x60" + varint(self.dropped_events) if self.dropped_events else b"",
                    self.links,
                    self.status,
                    b"\x85\x01" + (_REMOTE if self.has_remote_parent else _LOCAL),
                )
            ),
        )


class Batches:
    """Makes requests for a collector; ``resource`` is what the spans come from, ``scope`` the name and version."""

    def __init__(self, resource: Mapping[str, object], schema_url: str, scope: tuple[str, str]) -> None:
        pairs = b"".join(delimited(b"\x0a", _pair(key, value)) for key, value in resource.items())
        self._resource = delimited(b"\x0a", pairs)
        self._schema_url = delimited(b"\x1a", _text(schema_url)) if schema_url else b""
        name, version = scope
        self._scope = delimited(b"\x0a", delimited(b"\x0a", _text(name)) + delimited(b"\x12", _text(version)))

    def packed(self, spans: Sequence[bytes]) -> bytes:
        """``ExportTraceServiceRequest`` with these packed spans."""
        # Lengths first, so that megabytes are copied once.
        size = len(self._scope) + sum(map(len, spans))
        before = self._resource + b"\x12" + varint(size) + self._scope
        whole = len(before) - len(self._scope) + size + len(self._schema_url)
        return b"".join((b"\x0a", varint(whole), before, *spans, self._schema_url))


def rejected_spans(answer: bytes) -> int:
    """How many spans of a batch the collector says it did not take (``partial_success``); 0 for what is no answer."""
    rejected = 0
    try:
        for tag, _, start, end in fields(answer, 0, len(answer)):
            if tag == 0x0A:
                rejected = next((number for one, number, *_ in fields(answer, start, end) if one == 0x08), 0)
    except FrameError:
        return 0
    return rejected
