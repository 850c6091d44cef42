"""What goes into the transport and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

FailureKind = Literal[
    "url", "request", "destination", "dns", "connect", "proxy", "tls", "timeout", "protocol", "too_large", "redirect"
]
"""Why there is no response.

``url`` and ``request``: nothing was sent; ``destination``: nothing was sent to what is refused (a request before it may
have led there by a redirect); ``protocol``: a broken or missing response; ``redirect``: one that can't be followed.
"""


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
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """Where a request may lead.

    ``allow_hosts`` are hosts (names or addresses) or patterns such as ``*.example.com``; empty: any host.
    ``deny_networks`` are in CIDR notation. ``deny_special``, for hosts that somebody else chooses, also refuses what is
    never meant: cloud metadata services, link-local, unspecified, multicast and reserved addresses, in each of IPv6's
    forms of them too; private networks and loopback are none of these. A host that ``allow_hosts`` names in full is
    excepted from it. See ``destination`` for how it is checked.
    """

    allow_hosts: tuple[str, ...] = ()
    deny_networks: tuple[str, ...] = ()
    deny_special: bool = False


@dataclass(slots=True)
class OutgoingRequest:
    """A callout ready to be sent.

    ``headers`` are in order, names as they go out; without ``Host`` (taken from the URL) unless it is to be another,
    and without ``Content-Length`` (taken from ``body``). Times are in seconds; ``deadline`` is a ``time.monotonic()``
    moment that bounds all of it. ``proxy`` is the one for the URL's scheme, ``https_proxy`` takes its place where a
    redirect leads from http to https. ``ca_certificates`` (PEM) are trusted instead of the transport's.
    ``max_body_bytes``, of the body as it comes and as it is decoded, is used instead of the transport's own limit. Up
    to ``max_redirects`` redirects are followed; with 0 they are answers. Without ``destination`` a URL may lead
    wherever the transport's own rules allow.
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
    https_proxy: ProxySettings | None = None


@dataclass(slots=True)
class IncomingResponse:
    """What came back: header names in lower case, in order, repeated ones as they came.

    A ``body`` in gzip, deflate or br is decoded, and ``headers`` then have no ``content-encoding`` and no
    ``content-length``.
    """

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
