"""A transport of literal answers, in place of the one that sends: it keeps what it was given to send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from request_callout.engine import Engine
from request_callout.transport import IncomingResponse, OutgoingRequest

Answer = Callable[[OutgoingRequest], "tuple[int, Any]"]


class SendingDouble:
    """``answer`` gives status and body; a body that is no bytes is sent as JSON. It may raise TransportError."""

    def __init__(self, engine: Engine, answer: Answer = lambda request: (200, {"url": request.url})) -> None:
        engine.transport.close()
        engine.transport = self
        self.answer = answer
        self.sent: list[OutgoingRequest] = []

    def send(self, request: OutgoingRequest) -> IncomingResponse:
        self.sent.append(request)
        status, body = self.answer(request)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return IncomingResponse(status, [("content-type", "application/json")], raw)

    def close(self) -> None:
        """Nothing is open."""

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for, in the order in which they were."""
        return [path_of(request) for request in self.sent]


def path_of(request: OutgoingRequest) -> str:
    """Path and query of what is sent."""
    parts = urlsplit(request.url)
    return parts.path + (f"?{parts.query}" if parts.query else "")
