"""Spans of OpenTelemetry: one for each request, and one for each attempt of a callout, sent to a collector by OTLP.

A request's span is a child of the trace that the client's request came with, and every attempt tells its callee of its
own. Attributes follow the semantic conventions for HTTP clients; what they do not know is under ``request_callout.``.
A callout that made no attempt (skipped, from the cache, refused) is an event of the request's span. A refresh in the
background has a trace of its own, linked to the request's. What is not sampled is only propagated.

To be imported where spans are wanted only: everything of OpenTelemetry comes with it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer, set_span_in_context

from request_callout.engine.client import Part
from request_callout.engine.record import ElementsRecord
from request_callout.engine.sharing import shown_url
from request_callout.telemetry.otel_settings import Tracing, is_disabled
from request_callout.telemetry.propagation import Propagation
from request_callout.transport import IncomingResponse, TransportError
from request_callout.transport.url import parse_url

if TYPE_CHECKING:
    from request_callout.engine.answer import Answer
    from request_callout.engine.call import Call
    from request_callout.engine.observing import ObservedAttempt, ObservedRequest, Observer
    from request_callout.engine.run import Run
    from request_callout.transport import OutgoingRequest

Attributes: TypeAlias = "dict[str, str | int | float | bool]"

REQUEST = "request-callout"
REFRESH = "request-callout refresh"
"""Names of spans; that of an attempt is its method and the callout."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
_ERROR = StatusCode.ERROR
_FIRST_ERROR = 400
_LONGEST_URL = 2048
_FAILURES = frozenset({"failed", "refused", "script_error", "error"})


def spans() -> Observer | None:
    """What records spans as the environment says; None if ``OTEL_SDK_DISABLED`` is true.

    Raises ValueError for a variable that can't be used.
    """
    return None if is_disabled() else Spans()


class Spans:
    """Follows all requests of a process with spans."""

    reads: tuple[Part, ...] = ("headers", "request_id", "route")

    def __init__(self) -> None:
        self._propagation = Propagation()
        self._tracing = Tracing()

    def begin(self, run: Run) -> ObservedRequest | None:
        """Start a request's span, or that of a refresh."""
        if run.origin is not None:
            return self._refresh(run, run.origin)
        client = run.client
        parent, formats = self._propagation.extract(client.headers if client.has("headers") else {})
        began_ns = time.time_ns() - int((time.monotonic() - run.started_at) * 1e9)
        span = self._tracing.requests.start_span(REQUEST, parent, start_time=began_ns)
        passed_on = _PassedOn(self._propagation, set_span_in_context(span, parent), formats)
        if not span.is_recording():
            return _Unrecorded(passed_on)
        return _Recorded(run, span, self._tracing.recorded, passed_on)

    def _refresh(self, run: Run, origin: Run) -> ObservedRequest | None:
        """The refresh of a recorded request is recorded, whatever the sampler says of a new trace; no other is."""
        request = next((one for one in origin.observed if isinstance(one, (_Recorded, _Unrecorded))), None)
        if not isinstance(request, _Recorded):
            return request
        tracer = self._tracing.recorded
        span = tracer.start_span(REFRESH, Context(), links=(Link(request.span.get_span_context()),))
        passed_on = replace(request.passed_on, context=set_span_in_context(span, Context()))
        return _Recorded(run, span, tracer, passed_on)

    def close(self) -> None:
        """Export what waits, for a moment at most."""
        self._tracing.close()


@dataclass(frozen=True, slots=True)
class _PassedOn:
    """What callees are told: of ``context``, in these formats."""

    propagation: Propagation
    context: Context
    formats: Sequence[TextMapPropagator]

    def tell(self, request: OutgoingRequest, context: Context) -> None:
        request.headers = self.propagation.added(request.headers, context, self.formats)


class _Unrecorded:
    """A request that is not sampled: its callees are told so, and nothing is kept of it."""

    __slots__ = ("_passed_on",)

    def __init__(self, passed_on: _PassedOn) -> None:
        self._passed_on = passed_on

    def attempt(self, call: Call, request: OutgoingRequest) -> ObservedAttempt:
        self._passed_on.tell(request, self._passed_on.context)
        return _UNRECORDED

    def callout(self, call: Call) -> None:
        """Nothing is kept."""

    def end(self, answer: Answer | None) -> None:
        """Nothing is kept."""


class _UnrecordedAttempt:
    __slots__ = ()

    def ended(self, outcome: IncomingResponse | TransportError | None) -> None:
        """Nothing is kept."""


_UNRECORDED = _UnrecordedAttempt()


class _Recorded:
    """A request that is sampled. Its attempts wait for what becomes of their callouts before they are exported."""

    __slots__ = ("_attempts", "_error", "_made", "_run", "_tracer", "passed_on", "span")

    def __init__(self, run: Run, span: Span, tracer: Tracer, passed_on: _PassedOn) -> None:
        self.span = span
        self.passed_on = passed_on
        self._run = run
        self._tracer = tracer
        self._attempts: dict[Call, list[_Attempt]] = {}
        self._made = False
        self._error: str | None = None

    def attempt(self, call: Call, request: OutgoingRequest) -> ObservedAttempt:
        context = self.passed_on.context
        name = f"{request.method if request.method in _METHODS else 'HTTP'} {call.name}"
        span = self._tracer.start_span(name, context, SpanKind.CLIENT)
        self.passed_on.tell(request, set_span_in_context(span, context))
        attempt = _Attempt(span, self._run, _of_attempt(call, request))
        self._attempts.setdefault(call, []).append(attempt)
        return attempt

    def callout(self, call: Call) -> None:
        self._made = True
        attributes: Attributes = {"request_callout.result": call.result}
        if call.cache is not None:
            attributes["request_callout.cache"] = call.cache
        attempts = self._attempts.pop(call, None)
        if attempts is None:
            self.span.add_event("callout", _of_callout(call) | attributes)
        else:
            for attempt in attempts:
                attempt.export(attributes)
        if call.result in _FAILURES and self._error is None:
            self._error = call.result

    def end(self, answer: Answer | None) -> None:
        for attempt in itertools.chain.from_iterable(self._attempts.values()):
            attempt.export({})
        if self._run.is_detached and not self._made:
            return  # nothing was fetched: what is not ended is not exported
        run, span = self._run, self.span
        attributes = _of_request(run, answer)
        if run.failure is not None:
            attributes["error.type"] = self._error or "error"
            span.set_status(_ERROR, run.instance.redact(run.failure))
        span.set_attributes(attributes)
        span.end()


class _Attempt:
    """An attempt's span; what is known of it is set at once, in the end."""

    __slots__ = ("_attributes", "_ended_ns", "_run", "_span")

    def __init__(self, span: Span, run: Run, attributes: Attributes) -> None:
        self._span = span
        self._run = run
        self._attributes = attributes
        self._ended_ns: int | None = None

    def ended(self, outcome: IncomingResponse | TransportError | None) -> None:
        self._ended_ns = time.time_ns()
        attributes = self._attributes
        if outcome is None:
            attributes["request_callout.given_up"] = True
        elif isinstance(outcome, TransportError):
            attributes["error.type"] = outcome.kind
            self._span.set_status(_ERROR, self._run.instance.redact(str(outcome)))
        else:
            attributes["http.response.status_code"] = outcome.status
            if outcome.status >= _FIRST_ERROR:
                attributes["error.type"] = str(outcome.status)
                self._span.set_status(_ERROR)

    def export(self, of_callout: Attributes) -> None:
        """End the span as of when the attempt ended, with what became of its callout."""
        self._span.set_attributes(self._attributes | of_callout)
        self._span.end(self._ended_ns)


def _of_request(run: Run, answer: Answer | None) -> Attributes:
    client = run.client
    attributes: Attributes = {"request_callout.plugin_id": run.instance.config.plugin_id}
    if client.has("request_id") and client.part("request_id"):
        attributes["kong.request.id"] = str(client.part("request_id"))
    route = client.part("route") if client.has("route") else None
    if isinstance(route, Mapping):
        for key in ("id", "name"):
            if route.get(key):
                attributes[f"kong.route.{key}"] = str(route[key])
    if answer is not None:
        attributes["request_callout.answer_status_code"] = answer.status
    return attributes


def _of_callout(call: Call) -> Attributes:
    attributes: Attributes = {"request_callout.callout": call.name}
    if call.index is not None:
        attributes["request_callout.index"] = call.index
    kept = call.kept
    if isinstance(kept, ElementsRecord):
        attributes |= {"request_callout.items": len(kept.items), "request_callout.failed_items": kept.failed}
    return attributes


def _of_attempt(call: Call, request: OutgoingRequest) -> Attributes:
    url = request.url
    attributes: Attributes = dict((_of_kept_url if len(url) <= _LONGEST_URL else _of_url)(url))
    attributes["url.full"] = call.run.instance.redact(str(attributes["url.full"]))[:_LONGEST_URL]
    if request.method in _METHODS:
        attributes["http.request.method"] = request.method
    else:
        attributes["http.request.method"] = "_OTHER"
        attributes["http.request.method_original"] = call.run.instance.redact(request.method)
    if call.attempts > 1:
        attributes["http.request.resend_count"] = call.attempts - 1
    attributes["request_callout.callout"] = call.name
    if call.index is not None:
        attributes["request_callout.index"] = call.index
    return attributes


def _of_url(url: str) -> Attributes:
    """Of a URL: all but user info and the values of its query, which the conventions want redacted."""
    shown, question, names = shown_url(url).partition("?")
    redacted = "&".join(f"{name}=REDACTED" for name in names.split("&"))
    attributes: Attributes = {"url.full": f"{shown}?{redacted}" if question else shown}
    try:
        target = parse_url(url)
    except TransportError:  # what sending it will say too
        return attributes
    return attributes | {
        "url.scheme": "https" if target.tls else "http",
        "server.address": target.host,
        "server.port": target.port,
    }


_of_kept_url = lru_cache(1024)(_of_url)
