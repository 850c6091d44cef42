"""Which trace a request belongs to, and what tells its callees: headers of W3C Trace Context and of B3.

``OTEL_PROPAGATORS`` names the formats, for both ways. Without it, a request may come with ``traceparent`` or, if it has
none, with B3 headers (single or multi); callees always get ``traceparent``, and B3 if the request came with that.
Baggage is read and passed on only if the variable says so: a client's baggage is not for every callee.

What every request and every callee needs is done here, on text; everything rarer by OpenTelemetry's own propagators.
"""

from __future__ import annotations

import logging
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Headers = Mapping[str, "str | list[str]"]
"""Header names in lower case; a list where a header is repeated."""
Fields: TypeAlias = "list[tuple[str, str]]"

SAMPLED, RANDOM = 1, 2
"""Flags of a trace; ``RANDOM`` says of which kind its id is."""

_W3C = frozenset({"traceparent", "tracestate"})
_B3 = frozenset({"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"})
_NOTHING = Context()
_TRACEPARENT = re.compile("[ \t]*00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})[ \t]*")
_MOST_CHARACTERS = 512
_LONGEST_HEADER = 8192
_BLANKS = re.compile("[ \t]{64}")
"""More in a row, and some versions of OpenTelemetry take the square of them to find the commas."""

_log = logging.getLogger(__name__)


class Place(NamedTuple):
    """A span as others know it (``SpanContext``), ids as bytes; ``state`` is what ``tracestate`` says."""

    trace_id: bytes
    span_id: bytes
    flags: int
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        return bool(self.flags & SAMPLED)


Tell: TypeAlias = "Callable[[Place], Fields]"
"""Makes the headers that tell a callee whose child it is."""


def new_trace_id() -> bytes:
    """A random one."""
    return (random.getrandbits(128) or 1).to_bytes(16, "big")


def new_span_id() -> bytes:
    """A random one."""
    return (random.getrandbits(64) or 1).to_bytes(8, "big")


class _FromHeaders(Getter[Headers]):
    """Headers as OpenTelemetry's propagators read them; one that is too long to be looked through is as if absent."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        value = carrier.get(key.lower(), [])
        values = [value] if isinstance(value, str) else value
        if sum(map(len, values)) > _LONGEST_HEADER or any(_BLANKS.search(one) for one in values):
            return None
        if key == "traceparent" and len(values) > 1:
            return None  # of two traces nobody can say which it is; the W3C's tests want neither
        return values or None

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

    def extract(self, headers: Headers) -> tuple[Place | None, Tell]:
        """The span that a request comes from, if any, and how its callees are told of theirs."""
        try:
            return self._extract(headers)
        except Exception as error:  # whatever a client writes into these headers, its request goes on
            _log.debug("the headers of a trace can't be read: %s", type(error).__name__)
            return None, _as_w3c if self._named is None else partial(_injected, self._named, _NOTHING)

    def _extract(self, headers: Headers) -> tuple[Place | None, Tell]:
        if self._named is not None:
            context = self._named.extract(headers, Context(), _getter)
            return _place(context), partial(_injected, self._named, context)
        if "traceparent" in headers:
            place = _of_traceparent(headers)
            if place is None:
                place = _place(self._w3c.extract(headers, _NOTHING, _getter))
            if place is not None:
                return place, _as_w3c
        if "b3" in headers:
            return _from_b3(self._b3_single, headers), _as_w3c_and_b3
        if "x-b3-traceid" in headers or "x-b3-sampled" in headers:
            return _from_b3(self._b3_multi, headers), _as_w3c_and_b3_multi
        return None, _as_w3c

    def added(self, headers: Sequence[tuple[str, str]], mine: Fields) -> Fields:
        """A callout's headers with those of its trace in place of whatever there was of another."""
        replaces = self.replaces
        return [pair for pair in headers if pair[0].lower() not in replaces] + mine


def _of_traceparent(headers: Headers) -> Place | None:
    """The usual: one header of the version 00, with ids, and no ``tracestate``."""
    value = headers["traceparent"]
    if "tracestate" in headers or not isinstance(value, str) or len(value) > _MOST_CHARACTERS:
        return None
    found = _TRACEPARENT.fullmatch(value)
    if found is None:
        return None
    trace_id, span_id, flags = map(bytes.fromhex, found.groups())
    return Place(trace_id, span_id, flags[0]) if any(trace_id) and any(span_id) else None


def _from_b3(b3: TextMapPropagator, headers: Headers) -> Place | None:
    place = _place(b3.extract(headers, _NOTHING, _getter))
    if place is None and "0" in (headers.get("b3"), headers.get("x-b3-sampled")):
        # Nothing but "do not sample": a trace of nobody's, whose decision holds.
        return Place(new_trace_id(), new_span_id(), 0)
    return place


def _place(context: Context) -> Place | None:
    found = get_current_span(context).get_span_context()
    if not found.is_valid:
        return None
    state = found.trace_state.to_header() if found.trace_state else ""
    return Place(found.trace_id.to_bytes(16, "big"), found.span_id.to_bytes(8, "big"), found.trace_flags, state)


def _as_w3c(place: Place) -> Fields:
    """https://www.w3.org/TR/trace-context/."""
    fields = [("traceparent", f"00-{place.trace_id.hex()}-{place.span_id.hex()}-{place.flags:02x}")]
    if place.state:
        fields.append(("tracestate", place.state))
    return fields


def _as_w3c_and_b3(place: Place) -> Fields:
    """The same, and https://github.com/openzipkin/b3-propagation in one header."""
    return [*_as_w3c(place), ("b3", f"{place.trace_id.hex()}-{place.span_id.hex()}-{place.flags & SAMPLED}")]


def _as_w3c_and_b3_multi(place: Place) -> Fields:
    """The same, B3 in several headers."""
    return [
        *_as_w3c(place),
        ("x-b3-traceid", place.trace_id.hex()),
        ("x-b3-spanid", place.span_id.hex()),
        ("x-b3-sampled", str(place.flags & SAMPLED)),
    ]


def _injected(propagator: TextMapPropagator, context: Context, place: Place) -> Fields:
    """As a propagator of OpenTelemetry's says it, with what else the request's ``context`` brought for it."""
    span = SpanContext(
        int.from_bytes(place.trace_id, "big"),
        int.from_bytes(place.span_id, "big"),
        is_remote=False,
        trace_flags=TraceFlags(place.flags),
        trace_state=TraceState.from_header([place.state]) if place.state else None,
    )
    fields: dict[str, str] = {}
    propagator.inject(fields, set_span_in_context(NonRecordingSpan(span), context))
    return list(fields.items())
