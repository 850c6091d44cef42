"""What the standard variables of OpenTelemetry say, made into what spans need; a wrong one is refused at the start.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
import os
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Tracer

from request_callout import __version__
from request_callout.telemetry.span_export import SdkLog, SpanQueue, secrets_of

if TYPE_CHECKING:
    from opentelemetry.util.types import AnyValue

_BATCH = 128
_QUEUE = 2048
_DELAY_MS = 5000
_SAMPLERS = [prefix + name for prefix in ("", "parentbased_") for name in ("always_on", "always_off", "traceidratio")]
_PROTOCOL = "http/protobuf"

_log = logging.getLogger(__name__)


class Tracing:
    """Makes spans and sends them: ``requests`` asks the sampler, ``recorded`` is for what a sampled request makes."""

    def __init__(self) -> None:
        """Raises ValueError for a variable that can't be used."""
        _check()
        SdkLog(secrets_of(_variable)).take_over()
        exports = _variable("OTEL_TRACES_EXPORTER") != "none"
        resource = _resource()
        self._queue: SpanQueue | None = None
        if exports:
            batch = min(_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _BATCH), _number("OTEL_BSP_MAX_QUEUE_SIZE", _QUEUE))
            self._queue = SpanQueue(
                OTLPSpanExporter(),
                _number("OTEL_BSP_MAX_QUEUE_SIZE", _QUEUE),
                batch,
                _number("OTEL_BSP_SCHEDULE_DELAY", _DELAY_MS) / 1000,
            )
        self.requests: Tracer = self._tracer(TracerProvider(resource=resource, shutdown_on_exit=False))
        always = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self.recorded: Tracer = self._tracer(always)

    def _tracer(self, provider: TracerProvider) -> Tracer:
        if self._queue is not None:
            provider.add_span_processor(self._queue)
        return provider.get_tracer("request_callout", __version__)

    def close(self) -> None:
        """Export what waits, for a moment at most."""
        if self._queue is not None:
            self._queue.shutdown()


def is_disabled() -> bool:
    """Whether ``OTEL_SDK_DISABLED`` says that there is to be nothing of this."""
    return _variable("OTEL_SDK_DISABLED").lower() == "true"


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _resource() -> Resource:
    """What the spans come from: this service, unless the variables say otherwise, and each worker of its own."""
    found = Resource.create()
    own = {"service.version": __version__, "service.instance.id": str(uuid.uuid4())}
    own = {name: value for name, value in own.items() if name not in found.attributes}
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        own["service.name"] = "request-callout"
    merged = found.merge(Resource(own))
    return _OneResource(dict(merged.attributes), merged.schema_url)


class _OneResource(Resource):
    """A resource whose hash is worked out once: that of every span is asked for when a batch is packed."""

    def __init__(self, attributes: dict[str, AnyValue], schema_url: str) -> None:
        super().__init__(attributes, schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)


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
    _check_sampler()


def _check_sampler() -> None:
    sampler = _variable("OTEL_TRACES_SAMPLER").lower()
    if sampler and sampler not in _SAMPLERS:
        raise ValueError(f"OTEL_TRACES_SAMPLER is {sampler!r}; it may be one of {', '.join(_SAMPLERS)}")
    if sampler.endswith("traceidratio"):
        given = _variable("OTEL_TRACES_SAMPLER_ARG")
        try:
            share = float(given or 1)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise ValueError(f"OTEL_TRACES_SAMPLER_ARG is {given!r}; it must be a number from 0 to 1")


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
