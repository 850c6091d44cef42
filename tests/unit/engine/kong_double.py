"""A Kong of literal values, at the narrow interface the engine talks to: it answers reads and keeps what is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from request_callout.engine.kong import Call, ProtocolName

DEFAULTS: dict[str, Any] = {
    "kong.request.get_headers": {"host": "gateway.test"},
    "kong.request.get_raw_query": "",
    "kong.request.get_raw_body": b"",
    "kong.request.get_uri_captures": {"unnamed": [], "named": {}},
    "kong.router.get_route": {"id": "route-1"},
    "kong.router.get_service": {"id": "service-1", "host": "upstream.test", "port": 80, "protocol": "http"},
    "kong.nginx.get_var": "request-id",
}


class KongDouble:
    """One event: ``replies`` by method; ``log`` has every call in the order it would reach Kong."""

    protocol: ProtocolName = "ProtoBuf"

    def __init__(self, **replies: Any) -> None:
        self._replies = DEFAULTS | {name.replace("__", "."): value for name, value in replies.items()}
        self.log: list[Call] = []
        self.exchanges = 0
        self.answer: tuple[int, bytes | None, dict[str, Any]] | None = None

    def read(self, calls: Sequence[Call]) -> list[Any]:
        self.exchanges += 1
        self.log.extend(calls)
        return [self._reply(call) for call in calls]

    def _reply(self, call: Call) -> Any:
        reply = self._replies.get(call[0])
        return reply(*call[1]) if callable(reply) else reply

    def write(self, method: str, *args: Any) -> None:
        self.log.append((method, args))

    def ask(self, call: Call, told: Callable[[Any], None]) -> None:
        self.log.append(call)
        told(self._reply(call))

    def exit(self, status: int, body: bytes | None, headers: Mapping[str, str | list[str]]) -> None:
        self.answer = (status, body, dict(headers))

    def written(self, method: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of this method."""
        return [args for name, args in self.log if name == method]

    def shared(self) -> Any:
        """What other plugins see under ``kong.ctx.shared.callouts``."""
        return self.written("kong.ctx.shared.set")[-1][1]
