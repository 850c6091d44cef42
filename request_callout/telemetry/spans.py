"""Spans of OpenTelemetry: one for each request, and one for each attempt of a callout, sent to a collector by OTLP.

A request's span is a child of the trace that the client's request came with, and every attempt tells its callee of its
own. A callout that made no attempt (skipped, from the cache, refused) is an event of the request's span. A refresh in
the background has a trace of its own, linked to the request's. What is not sampled is only propagated.

To be imported where spans are wanted only: everything of OpenTelemetry comes with it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from request_callout.engine.client import REQUEST_ID, ROUTE, Part
from request_callout.telemetry import otlp
from request_callout.telemetry.otel_settings import Tracing, is_disabled
from request_callout.telemetry.otlp import Span
from request_callout.telemetry.propagation import Fields, Place, Propagation, Tell, new_span_id
from request_callout.telemetry.span_attributes import METHODS, Attributes
from request_callout.transport import IncomingResponse, TransportError

if TYPE_CHECKING:
    from request_callout.engine.answer import Answer
    from request_callout.engine.call import Call
    from request_callout.engine.kong import Call as KongCall
    from request_callout.engine.observing import ObservedAttempt, ObservedRequest, Observer
    from request_callout.engine.run import Run
    from request_callout.transport import OutgoingRequest

REQUEST = "request-callout"
REFRESH = "request-callout refresh"
"""Names of spans; that of an attempt is its method and the callout."""

_FIRST_ERROR = 400
_FAILURES = frozenset({"failed", "refused", "script_error", "error"})


def spans() -> Observer | None:
    """What records spans as the environment says; None if ``OTEL_SDK_DISABLED`` is true.

    Raises ValueError for a variable that can't be used.
    """
    return None if is_disabled() else Spans()


class Spans:
    """Follows all requests of a process with spans."""

    reads: tuple[Part, ...] = ("headers",)

    def __init__(self) -> None:
        self.propagation = Propagation()
        self.tracing = Tracing()

    def begin(self, run: Run) -> ObservedRequest | None:
        """Begin a request's span, or that of a refresh."""
        if run.origin is not None:
            return self._refresh(run, run.origin)
        client = run.client
        parent, tell = self.propagation.extract(client.headers if client.has("headers") else {})
        place = self.tracing.begin(parent)
        if not place.is_sampled:
            return _Unrecorded(self.propagation, tell(place))
        return _Recorded(self, run, place, parent, tell)

    def _refresh(self, run: Run, origin: Run) -> ObservedRequest | None:
        """The refresh of a recorded request is recorded, whatever the sampler says of a new trace; no other is."""
        request = next((one for one in origin.observed if isinstance(one, (_Recorded, _Unrecorded))), None)
        if not isinstance(request, _Recorded):
            return request
        return _Recorded(self, run, self.tracing.begin_recorded(), None, request.tell, request)

    def close(self) -> None:
        """Export what waits, for a moment at most."""
        self.tracing.close()


class _Unrecorded:
    """A request that is not sampled: its callees are told so, and nothing is kept of it."""

    __slots__ = ("_propagation", "_told")

    def __init__(self, propagation: Propagation, told: Fields) -> None:
        self._propagation = propagation
        self._told = told

    def attempt(self, call: Call, request: OutgoingRequest) -> ObservedAttempt:
        request.headers = self._propagation.added(request.headers, self._told)
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


class _Identity:
    """What Kong calls a request: known after its end, since to ask before would take a way to Kong and back."""

    __slots__ = ("_attributes", "_found", "_waiting")

    def __init__(self, attributes: Attributes) -> None:
        self._attributes = attributes
        self._found: list[bytes] | None = None
        self._waiting: list[Callable[[list[bytes]], None]] = []

    def wait(self, told: Callable[[list[bytes]], None]) -> None:
        """Be told the attributes as soon as they are known."""
        if self._found is None:
            self._waiting.append(told)
        else:
            told(self._found)

    def ask(self, run: Run) -> None:
        """Ask Kong for what has not been read; it answers along with what the request sends last."""
        found: list[list[bytes]] = []

        def told(attributes: list[bytes]) -> None:
            found.append(attributes)
            if len(found) == 2:  # in whatever order
                self._found = found[0] + found[1]
                for one in self._waiting:
                    one(self._found)
                self._waiting.clear()

        _ask(run, "route", ROUTE, lambda route: told(self._attributes.of_route(route)))
        _ask(run, "request_id", REQUEST_ID, lambda request_id: told(self._attributes.of_request_id(request_id)))


def _ask(run: Run, part: Part, call: KongCall, told: Callable[[Any], None]) -> None:
    if run.client.has(part):
        told(run.client.part(part))
        return
    try:
        run.kong.ask(call, told)
    except Exception:  # what the request itself has to say to Kong will meet the same
        told(None)


class _Recorded:
    """A request that is sampled. Its attempts wait for what becomes of their callouts before they are exported."""

    __slots__ = ("_attempts", "_error", "_made", "_run", "_since_ns", "_spans", "identity", "place", "span", "tell")

    def __init__(
        self, spans: Spans, run: Run, place: Place, parent: Place | None, tell: Tell, origin: _Recorded | None = None
    ) -> None:
        self.place = place
        self.tell = tell
        # From here on time is what has passed: a clock that is set meanwhile would end spans before they began.
        self._since_ns = time.time_ns() - time.monotonic_ns()
        self.span = Span(
            *(place.trace_id, place.span_id, place.state, None if parent is None else parent.span_id),
            otlp.named(REQUEST if origin is None else REFRESH, otlp.INTERNAL),
            self._since_ns + int(run.started_at * 1e9),
            has_remote_parent=parent is not None,
        )
        if origin is None:
            self.identity = _Identity(spans.tracing.attributes)
        else:
            self.identity = origin.identity
            self.span.links = otlp.link(origin.place.trace_id, origin.place.span_id)
        self._spans = spans
        self._run = run
        self._attempts: dict[Call, list[Span]] = {}
        self._made = False
        self._error: str | None = None

    def now_ns(self) -> int:
        """As ``time.time_ns()``, for this request."""
        return self._since_ns + time.monotonic_ns()

    def attempt(self, call: Call, request: OutgoingRequest) -> ObservedAttempt:
        trace_id, parent_id, flags, state = self.place
        span_id = new_span_id()
        name = f"{request.method if request.method in METHODS else 'HTTP'} {call.name}"
        span = Span(trace_id, span_id, state, parent_id, otlp.named(name, otlp.CLIENT), self.now_ns())
        span.attributes = self._spans.tracing.attributes.of_attempt(call, request)
        self._attempts.setdefault(call, []).append(span)
        told = self.tell(Place(trace_id, span_id, flags, state))
        request.headers = self._spans.propagation.added(request.headers, told)
        return _Attempt(span, self._run, self._spans.tracing.attributes, self.now_ns)

    def callout(self, call: Call) -> None:
        self._made = True
        tracing = self._spans.tracing
        attempts = self._attempts.pop(call, None)
        if attempts is not None:
            result = tracing.attributes.of_result(call)
            for span in attempts:
                span.attributes += result
                self._export(span)
        elif tracing.most_events is None or len(self.span.events) < tracing.most_events:
            self.span.events.append(tracing.attributes.event(call, self.now_ns()))
        else:
            self.span.dropped_events += 1
        if call.result in _FAILURES and self._error is None:
            self._error = call.result

    def end(self, answer: Answer | None) -> None:
        tracing, run, span = self._spans.tracing, self._run, self.span
        for attempt in itertools.chain.from_iterable(self._attempts.values()):
            self._export(attempt)
        if run.is_detached and not self._made:
            return  # nothing was fetched
        span.ended_ns = self.now_ns()
        span.attributes = tracing.attributes.of_request(run, answer)
        if run.failure is not None:
            span.attributes.append(tracing.attributes.usual("error.type", self._error or "error"))
            span.status = otlp.error(run.instance.redact(run.failure))
        self.identity.wait(self._finish)
        if not run.is_detached:
            self.identity.ask(run)

    def _finish(self, identity: list[bytes]) -> None:
        self.span.attributes += identity
        self._export(self.span)

    def _export(self, span: Span) -> None:
        span.ended_ns = span.ended_ns or self.now_ns()
        self._spans.tracing.export(span)


class _Attempt:
    """An attempt that is under way."""

    __slots__ = ("_attributes", "_now_ns", "_run", "_span")

    def __init__(self, span: Span, run: Run, attributes: Attributes, now_ns: Callable[[], int]) -> None:
        self._span = span
        self._run = run
        self._attributes = attributes
        self._now_ns = now_ns

    def ended(self, outcome: IncomingResponse | TransportError | None) -> None:
        span, usual = self._span, self._attributes.usual
        span.ended_ns = self._now_ns()
        if outcome is None:
            span.attributes.append(usual("request_callout.given_up", True))
        elif isinstance(outcome, TransportError):
            span.attributes.append(usual("error.type", outcome.kind))
            span.status = otlp.error(self._run.instance.redact(str(outcome)))
        else:
            span.attributes.append(usual("http.response.status_code", outcome.status))
            if outcome.status >= _FIRST_ERROR:
                span.attributes.append(usual("error.type", str(outcome.status)))
                span.status = otlp.error()
