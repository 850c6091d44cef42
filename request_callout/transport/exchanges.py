"""An exchange with a callee or the upstream as an entry of a HAR 1.2 log, and back.

HAR (http://www.softwareishard.com/blog/har-12-spec/) keeps what tools for it show: request, response and times.
Members of our own begin with an underscore: ``_peer`` (``callee`` or ``upstream``), ``_failure`` (why there was no
response, with status 0), ``_unmatched`` (a replay had no answer). Bodies that are no UTF-8 are in base64.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import parse_qsl, urlsplit

from request_callout.transport.message import FailureKind

Peer: TypeAlias = Literal["callee", "upstream"]
Fields: TypeAlias = "Sequence[tuple[str, str]]"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there was no response."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came of it.

    ``started_at`` is a moment of ``time.time()``. ``status`` is 0 if there was no response, for the reason that
    ``failure`` gives. ``unmatched`` tells that a recording had no answer to it.
    """

    peer: Peer
    method: str
    url: str
    request_headers: Fields
    request_body: bytes
    status: int
    response_headers: Fields
    response_body: bytes
    started_at: float
    duration_ms: float
    failure: Failure | None = None
    unmatched: bool = False


class NoExchange(ValueError):
    """Something that is no entry of a HAR log; the message names the member."""


def to_entry(exchange: Exchange) -> dict[str, Any]:
    """The exchange as an entry of a HAR log."""
    took = round(exchange.duration_ms, 3)
    entry: dict[str, Any] = {
        "startedDateTime": datetime.fromtimestamp(exchange.started_at, timezone.utc).isoformat(timespec="milliseconds"),
        "time": took,
        "request": {
            "method": exchange.method,
            "url": exchange.url,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _pairs(exchange.request_headers),
            "queryString": _pairs(parse_qsl(urlsplit(exchange.url).query, keep_blank_values=True)),
            "headersSize": -1,
            "bodySize": len(exchange.request_body),
        },
        "response": {
            "status": exchange.status,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _pairs(exchange.response_headers),
            "content": _content(exchange.response_body, exchange.response_headers, "size"),
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": len(exchange.response_body),
        },
        "cache": {},
        "timings": {"send": 0, "wait": took, "receive": 0},
        "_peer": exchange.peer,
    }
    if exchange.request_body:
        entry["request"]["postData"] = _content(exchange.request_body, exchange.request_headers, None)
    if exchange.failure is not None:
        entry["_failure"] = {"kind": exchange.failure.kind, "message": exchange.failure.message}
    if exchange.unmatched:
        entry["_unmatched"] = True
    return entry


def from_entry(entry: Any, where: str = "entry") -> Exchange:
    """The exchange of an entry; raises ``NoExchange``. One without ``_peer`` is taken for a callee's."""
    request, response = _member(entry, "request", where), _member(entry, "response", where)
    method, url, status = request.get("method"), request.get("url"), response.get("status")
    if not isinstance(method, str) or not isinstance(url, str):
        raise NoExchange(f"{where}.request: method and url have to be texts")
    if not isinstance(status, int) or isinstance(status, bool):
        raise NoExchange(f"{where}.response.status: has to be a whole number")
    peer: Peer = "upstream" if entry.get("_peer") == "upstream" else "callee"
    failed = entry.get("_failure")
    failure = None
    if isinstance(failed, dict):
        kind: FailureKind = next((one for one in get_args(FailureKind) if one == failed.get("kind")), "connect")
        failure = Failure(kind, str(failed.get("message", "")))
    elif not 100 <= status <= 999:
        failure = Failure("connect", f"the recording holds status {status}: there was no response")
    return Exchange(
        peer=peer,
        method=method,
        url=url,
        request_headers=_fields(request, f"{where}.request"),
        request_body=_body(request.get("postData"), f"{where}.request.postData"),
        status=status,
        response_headers=_fields(response, f"{where}.response"),
        response_body=_body(response.get("content"), f"{where}.response.content"),
        started_at=_moment(entry.get("startedDateTime"), where),
        duration_ms=float(entry["time"]) if isinstance(entry.get("time"), (int, float)) else 0.0,
        failure=failure,
        unmatched=entry.get("_unmatched") is True,
    )


def _pairs(fields: Fields) -> list[dict[str, str]]:
    return [{"name": _shown(name), "value": _shown(value)} for name, value in fields]


def _shown(value: str) -> str:
    """A text that JSON can hold: bytes that are no UTF-8 become U+FFFD."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _content(body: bytes, headers: Fields, size: str | None) -> dict[str, Any]:
    mime = next((value for name, value in headers if name.lower() == "content-type"), "")
    result: dict[str, Any] = {"mimeType": _shown(mime)}
    if size is not None:
        result[size] = len(body)
    try:
        result["text"] = body.decode()
    except UnicodeDecodeError:
        result |= {"text": b64encode(body).decode(), "encoding": "base64"}
    return result


def _member(entry: Any, name: str, where: str) -> dict[str, Any]:
    member = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(member, dict):
        raise NoExchange(f"{where}.{name}: has to be an object")
    return member


def _fields(message: dict[str, Any], where: str) -> list[tuple[str, str]]:
    fields = message.get("headers")
    if fields is None:
        return []
    if not isinstance(fields, list) or not all(isinstance(one, dict) for one in fields):
        raise NoExchange(f"{where}.headers: has to be a list of objects with name and value")
    return [(str(one.get("name", "")), str(one.get("value", ""))) for one in fields]


def _body(content: Any, where: str) -> bytes:
    text = content.get("text") if isinstance(content, dict) else None
    if not isinstance(text, str):
        return b""
    if content.get("encoding") == "base64":
        try:
            return b64decode(text, validate=True)
        except ValueError:
            raise NoExchange(f"{where}.text: is no base64") from None
    return text.encode("utf-8", "surrogateescape")


def _moment(value: Any, where: str) -> float:
    if value is None:
        return 0.0
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
    except ValueError:
        raise NoExchange(f"{where}.startedDateTime: is no ISO 8601 time") from None
