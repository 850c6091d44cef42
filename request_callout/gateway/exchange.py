"""One request on its way through the gateway: the client's part as it came, and what plugins make of it.

This is what nginx's request object and ``ngx.ctx`` are in Kong. It does no I/O; ``proxy`` fills and empties it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from request_callout.gateway.model import Consumer, Credential, PluginConfig
from request_callout.gateway.router import Match
from request_callout.values import Value


class Headers:
    """Header fields in order, with repeated ones; names keep their spelling and are compared in any case."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = list(fields)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def all(self, name: str) -> list[str]:
        """The values of one name, in order."""
        wanted = name.lower()
        return [value for one, value in self._fields if one.lower() == wanted]

    def first(self, name: str) -> str | None:
        """The first value of one name."""
        return next(iter(self.all(name)), None)

    def set(self, name: str, values: Sequence[str]) -> None:
        """Replace a field as nginx does: its first line keeps place and spelling, further values go to the end."""
        wanted = name.lower()
        kept: list[tuple[str, str]] = []
        rest = list(values)
        for one, value in self._fields:
            if one.lower() != wanted:
                kept.append((one, value))
            elif rest and len(rest) == len(values):
                kept.append((one, rest.pop(0)))
        self._fields = kept + [(name, value) for value in rest]

    def add(self, name: str, value: str) -> None:
        """Add a line at the end."""
        self._fields.append((name, value))

    def clear(self, name: str) -> None:
        """Remove all lines of one name."""
        self.set(name, ())

    def by_name(self, limit: int = 100) -> dict[str, list[str]]:
        """Lower-case names with their values, of at most ``limit`` lines (0: all of them)."""
        result: dict[str, list[str]] = {}
        for name, value in self._fields[: limit or None]:
            result.setdefault(name.lower(), []).append(value)
        return result


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A request as it came. ``target`` is the request line's, unchanged; ``version`` 1.0 or 1.1."""

    method: str
    target: str
    version: float
    headers: tuple[tuple[str, str], ...]
    remote_addr: str
    remote_port: int
    server_addr: str
    server_port: int
    scheme: str = "http"


@dataclass(frozen=True, slots=True)
class Body:
    """A request body: in memory, or in a file when it is larger than the buffer; ``changed`` by a plugin or not."""

    content: bytes = b""
    path: str | None = None
    size: int = 0
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """An answer from Kong instead of the upstream's; ``headers`` replace those set before."""

    status: int
    body: bytes | None
    headers: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(slots=True)
class Exchange:
    """The state of one request.

    ``method``, ``headers``, ``args`` (the query, None without one) and ``body`` are the request as it will go out;
    ``upstream_path`` is escaped; ``upstream_host`` is the Host header to send if it was decided (empty: the service's).
    ``receive`` gives the client's body once, ``body`` is empty until then (``read_body``).
    ``exit`` ends the request with an answer of Kong's own; ``response_headers`` were set for whichever answer there is.
    """

    client: ClientRequest
    request_id: str = field(default_factory=lambda: secrets.token_hex(16))
    nginx_request_id: str = field(default_factory=lambda: secrets.token_hex(16))
    started_at: float = field(default_factory=time.time)
    method: str = ""
    headers: Headers = field(default_factory=Headers)
    args: str | None = None
    body: Body = field(default_factory=Body)
    match: Match | None = None
    upstream_scheme: str = ""
    upstream_path: str = ""
    upstream_host: str = ""
    target_host: str = ""
    target_port: int = 0
    forwarded: dict[str, str] = field(default_factory=dict)
    consumer: Consumer | None = None
    credential: Credential | None = None
    plugin: PluginConfig | None = None
    shared: dict[str, Value] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    log_values: dict[str, Value] = field(default_factory=dict)
    response_headers: Headers = field(default_factory=Headers)
    exit: Exit | None = None
    receive: Callable[[], Awaitable[Body]] | None = None

    async def read_body(self) -> None:
        """Receive the client's body, if that has not been done."""
        if self.receive is not None:
            receive, self.receive = self.receive, None
            self.body = await receive()

    def __post_init__(self) -> None:
        self.method = self.method or self.client.method
        self.headers = Headers(self.client.headers)
        _, mark, query = self.client.target.partition("?")
        self.args = query if mark else None

    @property
    def host(self) -> str:
        """The host that the client asked for, in lower case and without a port (nginx's ``$host``)."""
        given = self.headers.first("host")
        if not given:
            return "kong"
        name, colon, port = given.rpartition(":")
        return (name if colon and port.isdigit() else given).lower()
