"""What goes into the transport and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FailureKind = Literal["url", "request", "dns", "connect", "proxy", "tls", "timeout", "protocol", "too_large"]
"""``url`` and ``request``: refused before anything was sent; ``protocol``: a broken or missing response."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The forward proxy for one request: an ``http://`` URL and its credentials."""

    url: str
    username: str | None = None
    password: str | None = None


@dataclass(slots=True)
class OutgoingRequest:
    """A callout ready to be sent.

    ``headers`` are in order, names as they go out; without ``Host`` (taken from the URL) unless it is to be another,
    and without ``Content-Length`` (taken from ``body``). Times are in seconds; ``deadline`` is a ``time.monotonic()``
    moment that bounds all of it.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes | None
    connect_timeout_s: float
    write_timeout_s: float
    read_timeout_s: float
    deadline: float | None = None
    ssl_verify: bool = True
    ssl_server_name: str | None = None
    proxy: ProxySettings | None = None


@dataclass(slots=True)
class IncomingResponse:
    """What came back: header names in lower case, in order, repeated ones as they came; the body as received."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Sender(Protocol):
    """Whatever sends callouts; see ``request_callout.transport.client.Transport``."""

    def send(self, request: OutgoingRequest) -> IncomingResponse:
        """Make one attempt. Raises ``TransportError``."""

    def close(self) -> None:
        """Close what is idle."""


class TransportError(Exception):
    """No response: why (``kind``) and a message for people, without credentials or query values."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
