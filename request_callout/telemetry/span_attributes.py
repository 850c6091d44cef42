"""What spans tell, packed: of requests, of attempts by the semantic conventions for HTTP clients, of callouts.

What the conventions do not know is under ``request_callout.``. Secrets of the configuration are in none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanLimits

from request_callout.engine.record import ElementsRecord
from request_callout.engine.sharing import shown_url
from request_callout.telemetry import otlp
from request_callout.transport import TransportError
from request_callout.transport.url import Target, parse_url

if TYPE_CHECKING:
    from request_callout.engine.answer import Answer
    from request_callout.engine.call import Call
    from request_callout.engine.run import Run
    from request_callout.transport import OutgoingRequest

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})

_LONGEST_URL = 2048


class Attributes:
    """Makes attributes within the limits that the environment sets; ``usual`` are those that come again and again."""

    def __init__(self, limits: SpanLimits) -> None:
        self._limits = limits
        self.once = partial(otlp.attribute, longest=limits.max_span_attribute_length)
        self.usual = lru_cache(4096, typed=True)(self.once)
        self._usual_url = lru_cache(1024)(self._of_url)

    def of_request(self, run: Run, answer: Answer | None) -> list[bytes]:
        """What is known of a request without Kong."""
        found = [self.usual("request_callout.plugin_id", run.instance.config.plugin_id)]
        if answer is not None:
            found.append(self.usual("request_callout.answer_status_code", answer.status))
        return found

    def of_route(self, route: Any) -> list[bytes]:
        """What Kong says of a request's route."""
        if not isinstance(route, Mapping):
            return []
        return [self.usual(f"kong.route.{key}", str(route[key])) for key in ("id", "name") if route.get(key)]

    def of_request_id(self, request_id: Any) -> list[bytes]:
        """Kong's id of a request, if it was told."""
        return [self.once("kong.request.id", str(request_id))] if request_id else []

    def of_attempt(self, call: Call, request: OutgoingRequest) -> list[bytes]:
        """What is known of an attempt when it begins."""
        url, redact = request.url, call.run.instance.redact
        full, target, of_target = (self._usual_url if len(url) <= _LONGEST_URL else self._of_url)(url)
        shown = redact(full)
        if shown != full and target is not None:  # what was hidden may be the host
            place = target.origin.rpartition(":")[0]
            of_target = self._of_target(target, target.host if redact(place) == place else "***")
        found = [self.once("url.full", shown[:_LONGEST_URL]), *of_target]
        if request.method in METHODS:
            found.append(self.usual("http.request.method", request.method))
        else:
            found.append(self.usual("http.request.method", "_OTHER"))
            found.append(self.once("http.request.method_original", redact(request.method)))
        if call.attempts > 1:
            found.append(self.usual("http.request.resend_count", call.attempts - 1))
        found.append(self.usual("request_callout.callout", call.name))
        if call.index is not None:
            found.append(self.usual("request_callout.index", call.index))
        return found

    def of_result(self, call: Call) -> list[bytes]:
        """What became of a callout, for all its attempts."""
        found = [self.usual("request_callout.result", call.result)]
        if call.cache is not None:
            found.append(self.usual("request_callout.cache", call.cache))
        return found

    def event(self, call: Call, at_ns: int) -> bytes:
        """A callout without attempts, as an event."""
        attributes: dict[str, otlp.Value] = {"request_callout.callout": call.name}
        if call.index is not None:
            attributes["request_callout.index"] = call.index
        kept = call.kept
        if isinstance(kept, ElementsRecord):
            attributes |= {"request_callout.items": len(kept.items), "request_callout.failed_items": kept.failed}
        attributes["request_callout.result"] = call.result
        if call.cache is not None:
            attributes["request_callout.cache"] = call.cache
        limits = self._limits
        return otlp.event("callout", at_ns, attributes, limits.max_event_attributes, limits.max_attribute_length)

    def _of_url(self, url: str) -> tuple[str, Target | None, list[bytes]]:
        """A URL without user info and the values of its query, which the conventions want redacted; where it leads."""
        shown, question, names = shown_url(url).partition("?")
        redacted = "&".join(f"{name}=REDACTED" for name in names.split("&"))
        full = f"{shown}?{redacted}" if question else shown
        try:
            target = parse_url(url)
        except TransportError:  # what sending it will say too
            return full, None, []
        return full, target, self._of_target(target, target.host)

    def _of_target(self, target: Target, host: str) -> list[bytes]:
        return [
            self.usual("url.scheme", "https" if target.tls else "http"),
            self.usual("server.address", host),
            self.usual("server.port", target.port),
        ]
