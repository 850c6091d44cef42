"""What the standard variables of OpenTelemetry say, made into what spans need; a wrong one is refused at the start.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import uuid

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits

from request_callout import __version__
from request_callout.telemetry.otel_environment import variable
from request_callout.telemetry.otlp import Batches, Span
from request_callout.telemetry.otlp_sending import Collector
from request_callout.telemetry.otlp_settings import is_exported, secrets, target
from request_callout.telemetry.propagation import RANDOM, SAMPLED, Place, new_span_id, new_trace_id
from request_callout.telemetry.sampling import sampler
from request_callout.telemetry.span_attributes import Attributes
from request_callout.telemetry.span_export import SdkLog, SpanQueue

_BATCH = 512
_QUEUE = 2048
_DELAY_MS = 5000


class Tracing:
    """Decides which traces are recorded, and takes their spans to the collector."""

    def __init__(self) -> None:
        """Raises ValueError for a variable that can't be used."""
        SdkLog(secrets()).take_over()
        self._samples = sampler(variable("OTEL_TRACES_SAMPLER"), variable("OTEL_TRACES_SAMPLER_ARG"))
        limits = SpanLimits()
        self._most_attributes = limits.max_span_attributes
        self.most_events = limits.max_events
        self.attributes = Attributes(limits)
        self._queue: SpanQueue | None = None
        if is_exported():
            resource = _resource()
            batches = Batches(resource.attributes, resource.schema_url, ("request_callout", __version__))
            longest = _number("OTEL_BSP_MAX_QUEUE_SIZE", _QUEUE)
            batch = min(_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _BATCH), longest)
            delay_s = _number("OTEL_BSP_SCHEDULE_DELAY", _DELAY_MS) / 1000
            self._queue = SpanQueue(Collector(target(), batches), longest, batch, delay_s)

    def begin(self, parent: Place | None) -> Place:
        """A request's span: sampled or not."""
        trace_id = new_trace_id() if parent is None else parent.trace_id
        flags = (RANDOM if parent is None else parent.flags & RANDOM) | self._samples(parent, trace_id)
        return Place(trace_id, new_span_id(), flags, "" if parent is None else parent.state)

    def begin_recorded(self) -> Place:
        """The first span of a trace that is sampled in any case."""
        return Place(new_trace_id(), new_span_id(), RANDOM | SAMPLED)

    def export(self, span: Span) -> None:
        """Send a span that has ended to the collector."""
        if self._queue is not None:
            self._queue.on_end(span.packed(self._most_attributes))

    def close(self) -> None:
        """Export what waits, for a moment at most."""
        if self._queue is not None:
            self._queue.shutdown()


def is_disabled() -> bool:
    """Whether ``OTEL_SDK_DISABLED`` says that there is to be nothing of this."""
    return variable("OTEL_SDK_DISABLED").lower() == "true"


def _resource() -> Resource:
    """What the spans come from: this service, unless the variables say otherwise, and each worker of its own."""
    found = Resource.create()
    own = {"service.version": __version__, "service.instance.id": str(uuid.uuid4())}
    own = {name: value for name, value in own.items() if name not in found.attributes}
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        own["service.name"] = "request-callout"
    return found.merge(Resource(own))


def _number(name: str, default: int) -> int:
    given = variable(name)
    if not given:
        return default
    if not given.isascii() or not given.isdigit() or int(given) == 0:
        raise ValueError(f"{name} is {given!r}; it must be a whole number above 0")
    return int(given)
