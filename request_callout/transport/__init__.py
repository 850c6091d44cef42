"""The HTTP client of callouts: pooled connections, exactly one attempt per call, everything bounded.

The parts, from the outside in: ``client`` (one exchange), ``pool`` (idle connections), ``dial`` (names, TCP, proxies,
TLS), ``connection`` (reading and writing in time), ``url``, ``head`` (what goes out), ``response`` (what comes in).
Nothing here needs gevent's monkey patching.
"""

from __future__ import annotations

from request_callout.transport.client import Transport
from request_callout.transport.message import (
    FailureKind,
    IncomingResponse,
    OutgoingRequest,
    ProxySettings,
    Sender,
    TransportError,
)

__all__ = [
    "FailureKind",
    "IncomingResponse",
    "OutgoingRequest",
    "ProxySettings",
    "Sender",
    "Transport",
    "TransportError",
]
