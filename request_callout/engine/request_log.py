"""The log lines of one request: each with Kong's id of it, its route and its plugin.

The id and the route's name come from Kong. Neither is worth a way to it: a line that can wait is held until they come
with something else, at the latest with the last write. Where the log is not fine enough nothing is asked for.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from request_callout.engine.client import REQUEST_ID, ROUTE, Part

if TYPE_CHECKING:
    from request_callout.engine.run import Run

_log = logging.getLogger(__name__)

_ROUTE_FOR_S = 60.0
"""How long the name of a plugin's own route is taken for what it was."""


class RequestLog:
    """What a run logs; ``origin`` is the log of the request that it has come from, and goes on after."""

    __slots__ = ("_held", "_origin", "_request_id", "_route", "_run")

    def __init__(self, run: Run, origin: RequestLog | None = None) -> None:
        self._run = run
        self._origin = origin
        self._request_id: str | None = None
        self._route: str | None = None
        self._held: list[tuple[int, str, dict[str, Any] | None]] = []

    def request_id(self) -> str:
        """Kong's id of the request; ``-`` if it can't be had any more."""
        return self._asked_for(["request_id"])

    def say(self, level: int, line: str, fields: dict[str, Any] | None = None, *, traceback: bool = False) -> None:
        """Log a line at once; the request's id is asked for if need be."""
        if _log.isEnabledFor(level):
            parts: list[Part] = ["request_id", "route"] if self.wants_route() else ["request_id"]
            self._write(level, self._asked_for(parts), line, fields, traceback=traceback)

    def tell(self, line: str, fields: dict[str, Any] | None = None, level: int = logging.INFO) -> None:
        """Log a line as soon as the request's id is known; for lines of a level that is enabled."""
        if self._request_id is None and self._run.client.has("request_id"):
            self._identify(self._run.client.part("request_id"))
        if self._request_id is None:
            self._held.append((level, line, fields))
        else:
            self._write(level, self._request_id, line, fields)

    def _asked_for(self, parts: list[Part]) -> str:
        """The request's id, for which these parts are read if it is not known."""
        if self._request_id is None:
            try:
                self._run.client.gather(parts)
                found = self._run.client.part("request_id")
            except Exception:  # asked for while something else is being told: nothing may come in its way
                found = None
            self._identify(found)
        return self._request_id or "-"

    def tell_held(self, *, kong_lives: bool = True) -> None:
        """Log what waits for the request's id."""
        if self._held:
            if not kong_lives:
                self._identify(None)
                return
            if self.wants_route():
                self._run.kong.ask(ROUTE, self._routed)
            self._run.kong.ask(REQUEST_ID, self._identify)

    def wants_route(self) -> bool:
        """Whether the route's name would have to be asked for; on MsgPack, where that takes a way, only its own."""
        run = self._run
        if run.client.has("route") or self._route is not None:
            return False
        if run.instance.config.route_id is not None:
            return time.monotonic() >= run.instance.route_until
        return run.kong.protocol == "ProtoBuf"

    def _identify(self, request_id: str | None) -> None:
        origin = None if self._origin is None else self._origin._request_id
        self._request_id = known = request_id or origin or "-"
        held = list(self._held)
        self._held.clear()
        for level, line, fields in held:
            self._write(level, known, line, fields)

    def _write(
        self, level: int, request_id: str, line: str, fields: dict[str, Any] | None, *, traceback: bool = False
    ) -> None:
        told = {"request_id": request_id, "route": self._shown_route(), "plugin": self._run.instance.config.plugin_id}
        if fields is not None:
            told.update(fields)
        _log.log(level, "[%s] %s", request_id, line, exc_info=traceback, extra={"fields": told})

    def _shown_route(self) -> str | None:
        """The route's name, else its id."""
        if self._route is None:
            run = self._run
            if run.client.has("route"):
                self._routed(run.client.part("route"))
            elif self._origin is not None:
                self._route = self._origin._shown_route()
            if self._route is None:
                self._route = run.instance.route or run.instance.config.route_id
        return self._route

    def _routed(self, route: Any) -> None:
        if isinstance(route, dict):
            self._route = route.get("name") or route.get("id")
        instance = self._run.instance
        if instance.config.route_id is not None:
            instance.route = self._route
            instance.route_until = time.monotonic() + _ROUTE_FOR_S
