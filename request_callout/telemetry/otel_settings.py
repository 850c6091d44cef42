"""What the standard variables of OpenTelemetry say, made into what spans need; a wrong one is refused at the start.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.util.re import parse_env_headers

from request_callout import __version__
from request_callout.telemetry.otlp import Batches, Span
from request_callout.telemetry.otlp_sending import COMPRESSIONS, Collector, Target
from request_callout.telemetry.propagation import RANDOM, SAMPLED, Place, new_span_id, new_trace_id
from request_callout.telemetry.sampling import sampler
from request_callout.telemetry.span_attributes import Attributes
from request_callout.telemetry.span_export import SdkLog, SpanQueue, secrets_of

_BATCH = 512
_QUEUE = 2048
_DELAY_MS = 5000
_TIMEOUT_S = 10.0
_ENDPOINT = "http://localhost:4318"
_PROTOCOL = "http/protobuf"

_log = logging.getLogger(__name__)


class Tracing:
    """Decides which traces are recorded, and takes their spans to the collector."""

    def __init__(self) -> None:
        """Raises ValueError for a variable that can't be used."""
        _check()
        SdkLog(secrets_of(_variable)).take_over()
        self._samples = sampler(_variable("OTEL_TRACES_SAMPLER"), _variable("OTEL_TRACES_SAMPLER_ARG"))
        limits = SpanLimits()
        self._most_attributes = limits.max_span_attributes
        self.most_events = limits.max_events
        self.attributes = Attributes(limits)
        self._queue: SpanQueue[bytes] | None = None
        if _variable("OTEL_TRACES_EXPORTER") != "none":
            longest = _number("OTEL_BSP_MAX_QUEUE_SIZE", _QUEUE)
            batch = min(_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _BATCH), longest)
            self._queue = SpanQueue(_collector(), longest, batch, _number("OTEL_BSP_SCHEDULE_DELAY", _DELAY_MS) / 1000)

    def begin(self, parent: Place | None) -> Place:
        """A request's span: sampled or not."""
        trace_id = new_trace_id() if parent is None else parent.trace_id
        flags = (RANDOM if parent is None else parent.flags & RANDOM) | self._samples(parent, trace_id)
        return Place(trace_id, new_span_id(), flags, "" if parent is None else parent.state)

    def begin_recorded(self) -> Place:
        """The first span of a trace that is sampled in any case."""
        return Place(new_trace_id(), new_span_id(), RANDOM | SAMPLED)

    def export(self, span: Span) -> None:
        """Send a span to the collector; it ends now unless it has."""
        span.ended_ns = span.ended_ns or time.time_ns()
        if self._queue is not None:
            self._queue.on_end(span.packed(self._most_attributes))

    def close(self) -> None:
        """Export what waits, for a moment at most."""
        if self._queue is not None:
            self._queue.shutdown()


def is_disabled() -> bool:
    """Whether ``OTEL_SDK_DISABLED`` says that there is to be nothing of this."""
    return _variable("OTEL_SDK_DISABLED").lower() == "true"


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _of_traces(name: str) -> str:
    """A variable of the exporter: that for traces, else that for all signals."""
    return _variable(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or _variable(f"OTEL_EXPORTER_OTLP_{name}")


def _collector() -> Collector:
    resource = _resource()
    batches = Batches(resource.attributes, resource.schema_url, ("request_callout", __version__))
    url = _variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not url:
        url = f"{(_variable('OTEL_EXPORTER_OTLP_ENDPOINT') or _ENDPOINT).removesuffix('/')}/v1/traces"
    certificate, key = _of_traces("CLIENT_CERTIFICATE"), _of_traces("CLIENT_KEY")
    target = Target(
        url,
        parse_env_headers(_of_traces("HEADERS"), liberal=True),
        timeout_s=_seconds("TIMEOUT", _TIMEOUT_S),
        compression=_of_traces("COMPRESSION").lower() or "none",
        verify=_of_traces("CERTIFICATE") or True,
        certificate=(certificate, key) if certificate and key else certificate or None,
    )
    return Collector(target, batches)


def _resource() -> Resource:
    """What the spans come from: this service, unless the variables say otherwise, and each worker of its own."""
    found = Resource.create()
    own = {"service.version": __version__, "service.instance.id": str(uuid.uuid4())}
    own = {name: value for name, value in own.items() if name not in found.attributes}
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        own["service.name"] = "request-callout"
    return found.merge(Resource(own))


def _check() -> None:
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        if _variable(name) not in ("", _PROTOCOL):
            raise ValueError(f"{name} is {_variable(name)!r}; spans are exported by {_PROTOCOL} only: leave it out")
    exporter = _variable("OTEL_TRACES_EXPORTER")
    if exporter not in ("", "otlp", "none"):
        raise ValueError(f"OTEL_TRACES_EXPORTER is {exporter!r}; it may be otlp or none")
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        if _variable(name) and not _is_http(_variable(name)):
            raise ValueError(
                f"{name} must be a URL that starts with http:// or https://, such as http://localhost:4318"
            )
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        if any("=" not in pair for pair in _variable(name).split(",") if pair.strip()):
            raise ValueError(f"{name} must be NAME=VALUE, or several of these with commas between")
    compression = _of_traces("COMPRESSION")
    if compression.lower() not in ("", *COMPRESSIONS):
        raise ValueError(
            f"OTEL_EXPORTER_OTLP_COMPRESSION is {compression!r}; it may be one of {', '.join(COMPRESSIONS)}"
        )


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _number(name: str, default: int) -> int:
    given = _variable(name)
    if not given:
        return default
    if not given.isascii() or not given.isdigit() or int(given) == 0:
        raise ValueError(f"{name} is {given!r}; it must be a whole number above 0")
    return int(given)


def _seconds(name: str, default: float) -> float:
    given = _of_traces(name)
    try:
        seconds = float(given or default)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_{name} is {given!r}; it must be a number of seconds above 0")
    return seconds
