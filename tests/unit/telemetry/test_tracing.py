"""Which trace a request belongs to and whether it is recorded, against what OpenTelemetry's SDK says of the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from request_callout.telemetry.propagation import SAMPLED, Place, Propagation, new_trace_id
from request_callout.telemetry.sampling import sampler

W3C = TraceContextTextMapPropagator()
HEX = "0123456789abcdef"


def hex_of(length: int) -> st.SearchStrategy[str]:
    usual = st.text(HEX, min_size=length, max_size=length)
    return st.one_of(usual, usual, st.just("0" * length), st.text(f"{HEX}AF-g", max_size=length + 2))


TRACEPARENTS = st.builds(
    "{}{}-{}-{}-{}{}".format,
    st.sampled_from(["", "", " ", "\t"]),
    st.sampled_from(["00", "00", "00", "01", "cc", "ff", "0", ""]),
    hex_of(32),
    hex_of(16),
    hex_of(2),
    st.sampled_from(["", "", "", " ", "-", "-more", " -", "x" * 500]),
)
TRACESTATES = st.one_of(st.none(), st.sampled_from(["a=1", "a=1,b=2", "a=1,a=2", "=", "x" * 600, "a=" + "y" * 500]))
PLACES = st.builds(
    lambda trace, span, flags: Place(trace, span, flags),
    st.binary(min_size=16, max_size=16).filter(any),
    st.binary(min_size=8, max_size=8).filter(any),
    st.integers(0, 3),
)


def known(place: Place) -> SpanContext:
    trace, span = int.from_bytes(place.trace_id, "big"), int.from_bytes(place.span_id, "big")
    return SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(place.flags))


def within(place: Place | None) -> Context:
    return Context() if place is None else set_span_in_context(NonRecordingSpan(known(place)), Context())


@given(TRACEPARENTS, TRACESTATES)
def test_a_traceparent_is_read_as_opentelemetry_does(traceparent: str, tracestate: str | None) -> None:
    """The same trace, span, flags and state, or none, whatever stands in the headers."""
    headers = {"traceparent": traceparent} | ({} if tracestate is None else {"tracestate": tracestate})
    expected = get_current_span(W3C.extract(headers, Context())).get_span_context()
    place, tell = Propagation().extract(headers)
    if not expected.is_valid:
        assert place is None
        return
    assert place is not None
    assert known(place)[:2] == expected[:2]
    assert place.flags == expected.trace_flags
    told: dict[str, str] = {}
    W3C.inject(told, set_span_in_context(NonRecordingSpan(expected), Context()))
    assert dict(tell(place)) == told


@pytest.mark.parametrize(
    ("headers", "formats"),
    [
        ({}, [W3C]),
        ({"b3": "0"}, [W3C, B3SingleFormat()]),
        ({"x-b3-sampled": "0"}, [W3C, B3MultiFormat()]),
    ],
    ids=["w3c", "b3", "b3multi"],
)
@given(place=PLACES)
def test_callees_are_told_as_opentelemetry_does(headers: dict[str, str], formats: list[object], place: Place) -> None:
    """In each format that a request may come in, the headers are those of OpenTelemetry's propagators."""
    told: dict[str, str] = {}
    CompositePropagator(formats).inject(told, within(place))  # type: ignore[arg-type]
    _, tell = Propagation().extract(headers)
    assert dict(tell(place)) == told


@pytest.mark.parametrize("prefix", ["", "parentbased_"])
@pytest.mark.parametrize("name", ["always_on", "always_off", "traceidratio"])
@given(parent=st.one_of(st.none(), PLACES), share=st.sampled_from([0.0, 0.01, 0.5, 1.0]))
def test_the_decision_is_that_of_opentelemetry(prefix: str, name: str, parent: Place | None, share: float) -> None:
    """For every sampler there is, a trace is recorded if and only if the SDK would."""
    root: sampling.Sampler = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": sampling.TraceIdRatioBased(share),
    }[name]
    theirs = sampling.ParentBased(root) if prefix else root
    trace_id = new_trace_id() if parent is None else parent.trace_id
    decision = theirs.should_sample(within(parent), int.from_bytes(trace_id, "big"), "request").decision
    assert sampler(prefix + name, str(share))(parent, trace_id) == (
        0 if decision is sampling.Decision.DROP else SAMPLED
    )


@given(parent=st.one_of(st.none(), PLACES))
def test_the_default_is_that_of_opentelemetry(parent: Place | None) -> None:
    """Without the variable, the client decides, and what has no trace yet is recorded."""
    decision = TracerProvider().sampler.should_sample(within(parent), 1, "request").decision
    assert sampler("", "")(parent, b"1" * 16) == (0 if decision is sampling.Decision.DROP else SAMPLED)


def test_of_two_traceparents_neither_counts() -> None:
    """As the W3C's own tests want: nobody can say which of two traces it is; B3 beside them is no such guess."""
    first, second = (f"00-{one * 32}-{one * 16}-01" for one in "ab")
    assert Propagation().extract({"traceparent": [first, second], "tracestate": "a=1"})[0] is None
    place, _ = Propagation().extract({"traceparent": [first, second], "b3": f"{'c' * 32}-{'d' * 16}-1"})
    assert place is not None
    assert place.trace_id.hex() == "c" * 32
    place, _ = Propagation().extract({"traceparent": [first], "tracestate": ["a=1", "b=2"]})
    assert place is not None
    assert (place.trace_id.hex(), place.state) == ("a" * 32, "a=1,b=2")


@pytest.mark.parametrize(
    ("headers", "trace", "sampled"),
    [
        ({"b3": f"{'c' * 16}-{'d' * 16}-1"}, "0" * 16 + "c" * 16, True),
        ({"b3": f"{'C' * 32}-{'D' * 16}-d"}, "c" * 32, True),
        ({"b3": f"{'c' * 32}-{'d' * 16}-0-{'e' * 16}"}, "c" * 32, False),
        ({"b3": f"{'c' * 32}-{'d' * 16}"}, "c" * 32, True),
        ({"x-b3-traceid": "c" * 16, "x-b3-spanid": "d" * 16, "x-b3-flags": "1"}, "0" * 16 + "c" * 16, True),
        ({"x-b3-traceid": "c" * 32, "x-b3-spanid": "d" * 16, "x-b3-sampled": "0"}, "c" * 32, False),
    ],
    ids=["64 bits", "debug", "denied", "left open", "flags", "several"],
)
def test_all_forms_of_b3_are_read(headers: dict[str, str], trace: str, sampled: bool) -> None:
    """Ids of 64 bits are filled up, and who debugs wants the trace recorded."""
    place, tell = Propagation().extract(headers)
    assert place is not None
    assert (place.trace_id.hex(), place.span_id.hex(), place.is_sampled) == (trace, "d" * 16, sampled)
    told = dict(tell(place))
    assert told.get("b3", told.get("x-b3-traceid", ""))[:32] == trace


@pytest.mark.parametrize("denied", [{"b3": "0"}, {"x-b3-sampled": "0"}], ids=["b3", "b3multi"])
def test_a_denial_without_ids_is_a_trace_of_its_own(denied: dict[str, str]) -> None:
    """Each such request begins one that is not sampled; any other value without ids says nothing."""
    places = [Propagation().extract(denied)[0] for _ in range(2)]
    assert [place is not None and place.is_sampled for place in places] == [False, False]
    assert places[0] != places[1]
    assert Propagation().extract(dict.fromkeys(denied, "1"))[0] is None
