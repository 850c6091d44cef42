"""The client's request as it came: read from Kong in one gathered exchange, each part at most once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from request_callout.engine.answer import Ended, message_answer
from request_callout.engine.kong import Call, Kong
from request_callout.values import text

Part = Literal[
    "headers",
    "raw_query",
    "body",
    "captures",
    "content_type",
    "route",
    "service",
    "consumer",
    "groups",
    "request_id",
    "debug",
]

DEBUG_HEADER = "x-callout-debug"
"""With it a client asks that its request be traced; it is meant for the plugin alone, and goes no further."""
MAX_HEADERS = 1000
"""The most header lines that Kong tells of: what is behind them, it passes on to the upstream unseen."""
REQUEST_ID: Call = ("kong.nginx.get_var", ("kong_request_id",))
ROUTE: Call = ("kong.router.get_route", ())
_CALLS: dict[Part, Call] = {
    "headers": ("kong.request.get_headers", (MAX_HEADERS,)),
    "raw_query": ("kong.request.get_raw_query", ()),
    "body": ("kong.request.get_raw_body", ()),
    "captures": ("kong.request.get_uri_captures", ()),
    "content_type": ("kong.request.get_header", ("content-type",)),
    "route": ROUTE,
    "service": ("kong.router.get_service", ()),
    "consumer": ("kong.client.get_consumer", ()),
    "groups": ("kong.client.get_consumer_groups", ()),
    "request_id": REQUEST_ID,
    "debug": ("kong.request.get_header", (DEBUG_HEADER,)),
}

QueryValue = str | Literal[True]


class ClientRequest:
    """The parts of the client's request that were read; a part nobody planned is read when it is asked for."""

    __slots__ = ("_kong", "_query", "_values")

    def __init__(self, kong: Kong) -> None:
        self._kong = kong
        self._values: dict[Part, Any] = {}
        self._query: dict[str, QueryValue | list[QueryValue]] | None = None

    def gather(self, parts: Iterable[Part]) -> None:
        """Read all of these parts in one exchange with Kong."""
        wanted = [part for part in parts if part not in self._values]
        if wanted:
            self._values.update(zip(wanted, self._kong.read([_CALLS[part] for part in wanted]), strict=True))

    def hide_header(self, name: str) -> None:
        """Show a header to nothing that works with those that were read; ``name`` is in lower case."""
        headers = self._values.get("headers")
        if headers:
            headers.pop(name, None)

    def take_over(self, other: ClientRequest) -> None:
        """Know what has been read of this same request elsewhere."""
        self._values.update(other._values)

    def has(self, name: Part) -> bool:
        """Whether a part has been read."""
        return name in self._values

    def part(self, name: Part) -> Any:
        """The value of one part, in the normal form of ``engine.kong``."""
        if name not in self._values:
            self.gather((name,))
        return self._values[name]

    @property
    def headers(self) -> dict[str, str | list[str]]:
        """Header names in lower case; a list where a header is repeated."""
        return self.part("headers") or {}

    def refuse_unseen_headers(self) -> None:
        """Raise Ended with 431 if there may be headers that Kong has not told of.

        With them a client could hide a header from callouts and conditions, and still show it to the upstream.
        """
        lines = sum(len(value) if isinstance(value, list) else 1 for value in self.headers.values())
        if lines >= MAX_HEADERS:
            reason = f"the request has {MAX_HEADERS} headers or more, and Kong tells of no more than these"
            raise Ended(message_answer(431, "the request has too many headers"), reason)

    @property
    def raw_query(self) -> str:
        """The query as it stands in the request line, without ``?``."""
        return self.part("raw_query") or ""

    @property
    def body(self) -> bytes:
        """The body, empty if there is none."""
        return self.part("body") or b""

    @property
    def content_type(self) -> str | None:
        """The media type that the client gave its body."""
        if "headers" in self._values:
            value = self.headers.get("content-type")
        else:
            value = self.part("content_type")
        return value[0] if isinstance(value, list) else value

    @property
    def query(self) -> dict[str, QueryValue | list[QueryValue]]:
        """The parameters by name, decoded; a list where one is repeated, True for one without a value."""
        if self._query is None:
            self._query = collect(parse_query(self.raw_query))
        return self._query


def parse_query(raw_query: str) -> list[tuple[str, QueryValue]]:
    """Decode a query as nginx does: ``+`` and ``%20`` are blanks, a parameter without ``=`` is True."""
    pairs: list[tuple[str, QueryValue]] = []
    for piece in raw_query.split("&"):
        name, equals, value = piece.partition("=")
        if name:
            pairs.append((_decoded(name), _decoded(value) if equals else True))
    return pairs


def collect(pairs: Iterable[tuple[str, QueryValue]]) -> dict[str, QueryValue | list[QueryValue]]:
    """Pairs by name, a repeated name as a list."""
    result: dict[str, QueryValue | list[QueryValue]] = {}
    for name, value in pairs:
        there = result.get(name)
        if there is None:
            result[name] = value
        elif isinstance(there, list):
            there.append(value)
        else:
            result[name] = [there, value]
    return result


def _decoded(piece: str) -> str:
    if "%" not in piece and "+" not in piece:
        return piece
    return text(unquote_to_bytes(piece.replace("+", " ").encode("utf-8", "surrogateescape")))
