"""Whose trace a request belongs to, and what its callees are told."""

from __future__ import annotations

import secrets

import pytest

from tests.conformance.callee import Callee
from tests.conformance.site import callout
from tests.telemetry.collector import Collector
from tests.telemetry.conftest import Observed, Traced

FORWARDED = {"forward": True}


def test_a_client_without_a_trace_begins_one(traced: Traced, callee: Callee) -> None:
    """The request's span has no parent then, and the callee is told of the attempt as ever."""
    traced.site.configure([callout("a", "/a")])
    traced.site.get()
    told = callee.one().header("traceparent") or ""
    _, trace, attempt, flags = told.split("-")
    spans = traced.collector.wait_for(lambda all: any(span.trace == trace and not span.parent for span in all))
    (sent,) = [span for span in spans if span.id == attempt]
    (request,) = [span for span in spans if span.trace == trace and not span.parent]
    assert (sent.parent, int(flags, 16) & 1) == (request.id, 1)


def test_a_trace_of_b3_goes_on_in_one_header(traced: Traced, callee: Callee) -> None:
    """A request with ``b3`` and no ``traceparent`` belongs to that trace; the callee is told in both forms."""
    traced.site.configure([callout("a", "/a")])
    traced.site.get(headers={"b3": f"{traced.trace}-{traced.parent}-1"})
    (attempt,) = traced.attempts()
    assert traced.request().parent == traced.parent
    assert callee.one().all("b3") == [f"{traced.trace}-{attempt.id}-1"]
    assert callee.one().all("traceparent") == [f"00-{traced.trace}-{attempt.id}-01"]


def test_a_trace_of_b3_goes_on_in_several_headers(traced: Traced, callee: Callee) -> None:
    """The same with ``X-B3-…``; what else there is of the client's is not forwarded."""
    traced.site.configure([callout("a", "/a", headers=FORWARDED)])
    ids = {"X-B3-TraceId": traced.trace, "X-B3-SpanId": traced.parent, "X-B3-Sampled": "1"}
    traced.site.get(headers={**ids, "X-B3-ParentSpanId": secrets.token_hex(8)})
    (attempt,) = traced.attempts()
    assert traced.request().parent == traced.parent
    sent = callee.one()
    names = ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-parentspanid")
    assert [sent.all(name) for name in names] == [[traced.trace], [attempt.id], ["1"], []]


def test_traceparent_comes_before_b3(traced: Traced, callee: Callee) -> None:
    """With both, ``traceparent`` counts, and no callee gets the client's other one."""
    traced.site.configure([callout("a", "/a", headers=FORWARDED)])
    traced.get(b3=f"{secrets.token_hex(16)}-{secrets.token_hex(8)}-1")
    (attempt,) = traced.attempts()
    assert callee.one().all("traceparent") == [f"00-{traced.trace}-{attempt.id}-01"]
    assert callee.one().all("b3") == []


def test_forwarded_headers_do_not_bring_the_clients_span(traced: Traced, callee: Callee) -> None:
    """A callout that forwards the client's headers is told of the attempt's span all the same, once."""
    traced.site.configure([callout("a", "/a", headers=FORWARDED)])
    traced.get(tracestate="a=1", **{"X-Other": "kept"})
    (attempt,) = traced.attempts()
    sent = callee.one()
    assert sent.all("traceparent") == [f"00-{traced.trace}-{attempt.id}-01"]
    assert (sent.all("tracestate"), sent.all("x-other")) == (["a=1"], ["kept"])


@pytest.mark.parametrize("header", ["00-zz", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 600])
def test_a_broken_trace_is_none(traced: Traced, callee: Callee, header: str) -> None:
    """What is no ``traceparent`` is not passed on: a trace begins."""
    traced.site.configure([callout("a", "/a", headers=FORWARDED)])
    assert traced.site.get(headers={"traceparent": header}).status == 200
    (told,) = callee.one().all("traceparent")
    assert told != header
    assert len(told) == 55


@pytest.mark.parametrize("name", ["traceparent", "tracestate", "b3", "X-B3-TraceId", "X-B3-SpanId", "X-B3-Sampled"])
@pytest.mark.parametrize("value", ["\xff\xfe", "-" * 9, "0", "=,=", "a" * 5000])
def test_whatever_a_client_writes_its_request_goes_on(traced: Traced, callee: Callee, name: str, value: str) -> None:
    """Headers of traces that make no sense cost the client nothing."""
    traced.site.configure([callout("a", "/a?$(headers.x_name)=1", headers=FORWARDED)])
    headers = {"traceparent": traced.parent_header, "X-Name": "\xff"}
    assert traced.site.get(headers={**headers, name: value}).status == 200
    assert len(callee.one().all("traceparent")) == 1
    if name != "traceparent":
        assert len(traced.attempts()) == 1


@pytest.mark.parametrize("name", ["tracestate", "baggage"])
@pytest.mark.parametrize(
    "value", ["PLANTED", "k=PLANTED,k=PLANTED", f"k={'PLANTED' * 1165}", "K=PLANTED", "k@=PLANTED"]
)
def test_what_a_client_writes_is_not_logged(observed: Observed, callee: Callee, name: str, value: str) -> None:
    """Headers of traces that make no sense are in no line of the log."""
    site = observed(OTEL_PROPAGATORS="tracecontext,baggage")
    site.configure([callout("a", "/a")])
    parent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    assert site.get(headers={"traceparent": parent, name: value}).status == 200
    assert (callee.one().header("traceparent") or "").startswith(parent[:36])
    assert "PLANTED" not in site.gateway.log()


def test_baggage_goes_no_further_by_itself(traced: Traced, callee: Callee) -> None:
    """A client's baggage is not for every callee: only forwarded headers bring it."""
    traced.site.configure([callout("a", "/a")])
    traced.get(baggage="user=1")
    assert callee.one().all("baggage") == []


def test_the_variable_names_the_formats(observed: Observed, callee: Callee) -> None:
    """``OTEL_PROPAGATORS`` says what is read and what callees get, baggage too."""
    site = observed(OTEL_PROPAGATORS="b3,baggage")
    site.configure([callout("a", "/a")])
    trace = secrets.token_hex(16)
    parent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    site.get(headers={"b3": f"{trace}-{secrets.token_hex(8)}-1", "traceparent": parent, "baggage": "user=1"})
    sent = callee.one()
    assert (sent.header("b3") or "").startswith(trace)
    assert (sent.all("traceparent"), sent.all("baggage")) == ([], ["user=1"])


def test_what_is_not_sampled_is_only_passed_on(traced: Traced, callee: Callee) -> None:
    """The client's decision holds: the callee gets the trace, not sampled, and no span is sent."""
    traced.site.configure([callout("a", "/a")])
    traced.site.get(headers={"traceparent": f"00-{traced.trace}-{traced.parent}-00"})
    told = callee.one().header("traceparent") or ""
    _, trace, parent, flags = told.split("-")
    assert (trace, flags) == (traced.trace, "00")
    assert parent != traced.parent
    later = Traced(traced.site, traced.collector)  # what was sent before this one would be there now
    later.get()
    later.spans()
    assert [span for span in traced.collector.spans() if span.trace == traced.trace] == []


def test_b3_can_deny_sampling_alone(traced: Traced, callee: Callee) -> None:
    """``b3: 0`` has no ids, and is a decision all the same."""
    traced.site.configure([callout("a", "/a")])
    traced.site.get(headers={"b3": "0"})
    assert (callee.one().header("traceparent") or "").endswith("-00")
    assert (callee.one().header("b3") or "").endswith("-0")


def test_the_sampler_decides_for_those_without_a_trace(
    observed: Observed, collector: Collector, callee: Callee
) -> None:
    """``OTEL_TRACES_SAMPLER`` counts where the client has not decided."""
    site = observed(OTEL_TRACES_SAMPLER="parentbased_always_off")
    site.configure([callout("a", "/a")])
    site.get()
    flags = int((callee.one().header("traceparent") or "").rpartition("-")[2], 16)
    assert flags & 1 == 0
    traced = Traced(site, collector)
    traced.get()
    assert {span.trace for span in traced.spans()} == {traced.trace} == {span.trace for span in collector.spans()}


@pytest.mark.parametrize("on", [False, True], ids=["without the option", "disabled"])
def test_off_nothing_is_told(observed: Observed, callee: Callee, collector: Collector, on: bool) -> None:
    """Variables alone start nothing, and ``OTEL_SDK_DISABLED`` ends it; forwarded headers are as the client's."""
    site = observed(OTEL_SDK_DISABLED="true") if on else observed(otel=False)
    site.configure([callout("a", "/a", headers=FORWARDED)])
    header = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    site.get(headers={"traceparent": header})
    assert callee.one().all("traceparent") == [header]
    assert collector.spans() == []
