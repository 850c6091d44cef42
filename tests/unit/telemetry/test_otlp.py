"""Spans as bytes, against what OpenTelemetry's own exporter makes of the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from request_callout.telemetry import otlp

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
VALUES = st.one_of(TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
ATTRIBUTES = st.dictionaries(TEXT.filter(bool), VALUES, max_size=5)
TIMES = st.integers(1, 2**63 - 1)
RESOURCE: dict[str, Any] = {"service.name": "shop", "process.command_args": ("a", "b"), "n": 200, "f": 0.5, "b": True}


def context(trace: int, span: int, *, remote: bool = False, state: str = "") -> SpanContext:
    return SpanContext(
        trace, span, remote, TraceFlags(1), TraceState.from_header([state]) if state else TraceState.get_default()
    )


@given(
    *(ATTRIBUTES, ATTRIBUTES, TEXT.filter(bool), TIMES, TIMES, st.sampled_from(["", "a=1", "a=1,b=2"])),
    *(st.sampled_from([None, "local", "remote"]), st.sampled_from([None, "", "it broke"]), st.booleans()),
)
def test_the_bytes_are_those_of_opentelemetry(
    attributes: dict[str, Any],
    of_event: dict[str, Any],
    name: str,
    began_ns: int,
    ended_ns: int,
    state: str,
    parent: str | None,
    failed: str | None,
    linked: bool,
) -> None:
    """Whatever is in a span, its batch is byte for byte what the SDK's exporter would send."""
    trace, span, above = 0xA1 << 100, 0xB2 << 40, 7
    theirs = ReadableSpan(
        name,
        context(trace, span, state=state),
        None if parent is None else context(trace, above, remote=parent == "remote"),
        Resource(RESOURCE, "https://schema"),
        attributes,
        [Event("callout", of_event, began_ns)],
        [Link(context(5, 6))] if linked else [],
        SpanKind.CLIENT,
        status=Status(StatusCode.UNSET) if failed is None else Status(StatusCode.ERROR, failed or None),
        start_time=began_ns,
        end_time=ended_ns,
        instrumentation_scope=InstrumentationScope("request_callout", "1.0"),
    )
    ours = otlp.Span(
        *(trace.to_bytes(16, "big"), span.to_bytes(8, "big"), state),
        None if parent is None else above.to_bytes(8, "big"),
        otlp.named(name, otlp.CLIENT),
        *(began_ns, ended_ns, parent == "remote"),
        [otlp.attribute(key, value) for key, value in attributes.items()],
        [otlp.event("callout", began_ns, of_event, None, None)],
        links=otlp.link((5).to_bytes(16, "big"), (6).to_bytes(8, "big")) if linked else b"",
        status=otlp.OK if failed is None else otlp.error(failed),
    )
    packed = otlp.Batches(RESOURCE, "https://schema", ("request_callout", "1.0")).packed([ours.packed()] * 2)
    assert packed == encode_spans([theirs, theirs]).SerializeToString()


def sent(span: otlp.Span, most_attributes: int | None = None) -> Any:
    request = ExportTraceServiceRequest.FromString(
        otlp.Batches({}, "", ("a", "1")).packed([span.packed(most_attributes)])
    )
    return request.resource_spans[0].scope_spans[0].spans[0]


def test_what_is_over_a_limit_is_counted() -> None:
    """The last attributes are kept, longer text is cut, and the collector is told how many there were more."""
    span = otlp.Span(b"1" * 16, b"2" * 8, "", None, otlp.named("a", otlp.INTERNAL), 1, 2, dropped_events=3)
    span.attributes = [otlp.attribute(key, "long", 2) for key in "abc"]
    span.events = [otlp.event("callout", 1, {"a": "long", "b": "long"}, 1, 3)]
    found = sent(span, 2)
    assert [(one.key, one.value.string_value) for one in found.attributes] == [("b", "lo"), ("c", "lo")]
    assert (found.dropped_attributes_count, found.dropped_events_count) == (1, 3)
    (event,) = found.events
    assert [(one.key, one.value.string_value) for one in event.attributes] == [("b", "lon")]
    assert event.dropped_attributes_count == 1


@pytest.mark.parametrize("text", ["\udcff", "a\ud800"])
def test_text_that_is_no_unicode_costs_no_batch(text: str) -> None:
    """A collector refuses a whole batch for one string that is not UTF-8: such a character becomes a question mark."""
    span = otlp.Span(b"1" * 16, b"2" * 8, text, None, otlp.named(text, otlp.INTERNAL), 1, 2, status=otlp.error(text))
    span.attributes = [otlp.attribute(text, text)]
    found = sent(span)
    assert {found.name, found.trace_state, found.status.message, found.attributes[0].key} == {text[:-1] + "?"}
