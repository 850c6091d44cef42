"""The HTTP client of callouts: pooled connections, exactly one attempt per call, everything bounded.

The parts, from the outside in: ``client`` (one attempt), ``redirects``, ``destination`` and ``special`` (where it may
lead), ``pool`` (idle connections), ``dial`` (names, TCP, proxies, TLS), ``tls`` and ``pem`` (contexts), ``connection``
(reading and writing in time), ``url``, ``head`` (what goes out), ``response`` and ``decoding`` (what comes in).
Nothing here needs gevent's monkey patching.
"""

from __future__ import annotations

from request_callout.transport.client import Transport
from request_callout.transport.message import (
    ClientCertificate,
    DestinationRules,
    FailureKind,
    IncomingResponse,
    OutgoingRequest,
    ProxySettings,
    Sender,
    TransportError,
)

__all__ = [
    "ClientCertificate",
    "DestinationRules",
    "FailureKind",
    "IncomingResponse",
    "OutgoingRequest",
    "ProxySettings",
    "Sender",
    "Transport",
    "TransportError",
]
