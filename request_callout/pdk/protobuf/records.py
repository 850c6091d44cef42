"""The messages that stand for a dict each: routes, services, consumers; by tables of their fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from request_callout.pdk.protobuf.message import Message, as_bytes
from request_callout.pdk.protobuf.wire import delimited, fields, signed_32, signed_64, varint
from request_callout.values import text

_VARINTS: dict[str, Callable[[int], Any]] = {"int32": signed_32, "int64": signed_64, "bool": bool}

FieldKind = str
"""``string``, ``strings`` (repeated), ``int32``, ``int64``, ``bool``, ``record`` or ``records`` (with its message)."""


def record(name: str, layout: Iterable[tuple[int, str, FieldKind] | tuple[int, str, FieldKind, Message]]) -> Message:
    """A message that stands for a dict; its fields as ``(number, name, kind)``.

    An empty message is None: Kong sends one for a consumer, route or credential that there is not.
    """
    by_tag: dict[int, tuple[str, FieldKind, Message | None]] = {}
    in_order: list[tuple[str, FieldKind, bytes, Message | None]] = []
    flags: list[str] = []
    for number, field, kind, *rest in layout:
        nested = rest[0] if rest else None
        tag = number << 3 | (0 if kind in _VARINTS else 2)
        by_tag[tag] = (field, kind, nested)
        in_order.append((field, kind, varint(tag), nested))
        if kind == "bool":
            flags.append(field)

    def encode(value: Mapping[str, Any] | None) -> bytes:
        parts: list[bytes] = []
        for field, kind, tag, nested in in_order:
            content = value.get(field) if value else None
            if content is None or content is False:
                continue
            if kind in _VARINTS:
                parts.append(tag + varint(int(content)))
            elif kind == "string":
                parts.append(delimited(tag, as_bytes(content)))
            elif kind == "strings":
                parts += [delimited(tag, as_bytes(element)) for element in content]
            elif kind == "record":
                parts.append(delimited(tag, nested.encode(content)))  # type: ignore[union-attr]
            else:
                parts += [delimited(tag, nested.encode(element)) for element in content]  # type: ignore[union-attr]
        return b"".join(parts)

    def decode(data: bytes) -> dict[str, Any] | None:
        if not data:
            return None
        result: dict[str, Any] = dict.fromkeys(flags, False)
        for tag, number, start, end in fields(data, 0, len(data)):
            known = by_tag.get(tag)
            if known is None:
                continue
            field, kind, nested = known
            if kind in _VARINTS:
                result[field] = _VARINTS[kind](number)
            elif kind == "string":
                result[field] = text(data[start:end])
            elif kind == "strings":
                result.setdefault(field, []).append(text(data[start:end]))
            elif kind == "record":
                result[field] = nested.decode(data[start:end]) or {}  # type: ignore[union-attr]
            else:
                result.setdefault(field, []).append(nested.decode(data[start:end]) or {})  # type: ignore[union-attr]
        return result

    return Message(name, encode, decode)


_KEY = record("ServiceKey", [(1, "id", "string")])
_DICT_STATS = record("DictStats", [(1, "allocated_slabs", "int64"), (2, "capacity", "int64")])

ROUTE = record(
    "Route",
    [
        (1, "id", "string"),
        (2, "created_at", "int64"),
        (3, "updated_at", "int64"),
        (4, "name", "string"),
        (5, "protocols", "strings"),
        (6, "methods", "strings"),
        (7, "hosts", "strings"),
        (8, "paths", "strings"),
        (9, "headers", "strings"),
        (10, "https_redirect_status_code", "int32"),
        (11, "regex_priority", "int32"),
        (12, "strip_path", "bool"),
        (13, "preserve_host", "bool"),
        (14, "snis", "strings"),
        (15, "sources", "strings"),
        (16, "destinations", "strings"),
        (17, "tags", "strings"),
        (18, "service", "record", _KEY),
    ],
)
SERVICE = record(
    "Service",
    [
        (1, "id", "string"),
        (2, "created_at", "int64"),
        (3, "updated_at", "int64"),
        (4, "name", "string"),
        (5, "retries", "int32"),
        (6, "protocol", "string"),
        (7, "host", "string"),
        (8, "port", "int32"),
        (9, "path", "string"),
        (10, "connect_timeout", "int32"),
        (11, "write_timeout", "int32"),
        (12, "read_timeout", "int32"),
        (13, "tags", "strings"),
        (14, "client_certificate", "record", _KEY),
    ],
)
CONSUMER = record(
    "Consumer",
    [
        (1, "id", "string"),
        (2, "created_at", "int64"),
        (3, "username", "string"),
        (4, "custom_id", "string"),
        (5, "tags", "strings"),
    ],
)
CREDENTIAL = record("AuthenticatedCredential", [(1, "id", "string"), (2, "consumer_id", "string")])
MEMORY_STATS = record(
    "MemoryStats",
    [
        (
            1,
            "lua_shared_dicts",
            "record",
            record("LuaSharedDicts", [(1, "kong", "record", _DICT_STATS), (2, "kong_db_cache", "record", _DICT_STATS)]),
        ),
        (
            2,
            "workers_lua_vms",
            "records",
            record("WorkerLuaVm", [(1, "http_allocated_gc", "int64"), (2, "pid", "int64")]),
        ),
    ],
)
