"""Which trace a request belongs to, and what tells its callees: headers of W3C Trace Context and of B3.

``OTEL_PROPAGATORS`` names the formats, for both ways. Without it, a request may come with ``traceparent`` or, if it has
none, with B3 headers (single or multi); callees always get ``traceparent``, and B3 if the request came with that.
Baggage is read and passed on only if the variable says so: a client's baggage is not for every callee.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Headers = Mapping[str, "str | list[str]"]
"""Header names in lower case; a list where a header is repeated."""

_W3C = frozenset({"traceparent", "tracestate"})
_B3 = frozenset({"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"})
_NOTHING = Context()
_log = logging.getLogger(__name__)
_ids = RandomIdGenerator()


class _FromHeaders(Getter[Headers]):
    def get(self, carrier: Headers, key: str) -> list[str] | None:
        value = carrier.get(key.lower())
        return None if value is None else [value] if isinstance(value, str) else value

    def keys(self, carrier: Headers) -> list[str]:
        return list(carrier)


_getter = _FromHeaders()


class Propagation:
    """How a trace goes from a request to its callouts; ``replaces`` are the headers that no callout takes over."""

    def __init__(self) -> None:
        named = os.environ.get("OTEL_PROPAGATORS", "").strip()
        self._named = get_global_textmap() if named else None
        self._w3c = TraceContextTextMapPropagator()
        self._b3_single = B3SingleFormat()
        self._b3_multi = B3MultiFormat()
        if self._named is None:
            self.replaces = _W3C | _B3
        else:
            fields = {field.lower() for field in self._named.fields}
            self.replaces = frozenset(fields | (_B3 if fields & _B3 else set()))

    def extract(self, headers: Headers) -> tuple[Context, Sequence[TextMapPropagator]]:
        """The trace that a request belongs to, and the formats in which its callees are told of theirs."""
        try:
            return self._extract(headers)
        except Exception as error:  # whatever a client writes into these headers, its request goes on
            _log.debug("the headers of a trace can't be read: %s", type(error).__name__)
            return _NOTHING, (self._w3c,) if self._named is None else (self._named,)

    def _extract(self, headers: Headers) -> tuple[Context, Sequence[TextMapPropagator]]:
        if self._named is not None:
            return self._named.extract(headers, Context(), _getter), (self._named,)
        if "traceparent" in headers:
            context = self._w3c.extract(headers, _NOTHING, _getter)
            if context:
                return context, (self._w3c,)
        if "b3" in headers:
            return self._from_b3(self._b3_single, headers), (self._w3c, self._b3_single)
        if "x-b3-traceid" in headers or "x-b3-sampled" in headers:
            return self._from_b3(self._b3_multi, headers), (self._w3c, self._b3_multi)
        return _NOTHING, (self._w3c,)

    @staticmethod
    def _from_b3(b3: TextMapPropagator, headers: Headers) -> Context:
        context = b3.extract(headers, _NOTHING, _getter)
        if not context and "0" in (headers.get("b3"), headers.get("x-b3-sampled")):
            # Nothing but "do not sample": a trace of nobody's, whose decision holds.
            unsampled = SpanContext(_ids.generate_trace_id(), _ids.generate_span_id(), is_remote=True)
            return set_span_in_context(NonRecordingSpan(unsampled), _NOTHING)
        return context

    def added(
        self, headers: Sequence[tuple[str, str]], context: Context, formats: Sequence[TextMapPropagator]
    ) -> list[tuple[str, str]]:
        """A callout's headers with those of its trace in place of whatever there was of another."""
        mine: dict[str, str] = {}
        for one in formats:
            one.inject(mine, context)
        kept = [pair for pair in headers if pair[0].lower() not in self.replaces]
        kept.extend(mine.items())
        return kept
