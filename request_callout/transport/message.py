"""What goes into the transport and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FailureKind = Literal[
    "url", "request", "destination", "dns", "connect", "proxy", "tls", "timeout", "protocol", "too_large"
]
"""``url``, ``request`` and ``destination``: nothing was sent; ``protocol``: a broken or missing response."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The forward proxy for one request: an ``http://`` URL and its credentials."""

    url: str
    username: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What this side shows in TLS: a certificate (with its chain) and its key, both PEM."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """Where a request may lead. Host patterns are exact or ``*.example.com`` (empty: any host).

    ``deny_networks`` are in CIDR notation; ``deny_special`` also refuses link-local, metadata and other addresses that
    no public service has, for hosts that a client can choose.
    """

    allow_hosts: tuple[str, ...] = ()
    deny_networks: tuple[str, ...] = ()
    deny_special: bool = False


@dataclass(slots=True)
class OutgoingRequest:
    """A callout ready to be sent.

    ``headers`` are in order, names as they go out; without ``Host`` (taken from the URL) unless it is to be another,
    and without ``Content-Length`` (taken from ``body``). Times are in seconds; ``deadline`` is a ``time.monotonic()``
    moment that bounds all of it. ``ca_certificates`` (PEM) are trusted instead of the system's; ``max_body_bytes``
    None: the transport's own limit. Without ``destination`` a URL may lead anywhere.
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
    client_certificate: ClientCertificate | None = None
    ca_certificates: str | None = None
    max_body_bytes: int | None = None
    max_redirects: int = 0
    destination: DestinationRules | None = None


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
