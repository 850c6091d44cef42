"""What is taken of the headers that a request's trace comes with."""

from __future__ import annotations

import pytest
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from request_callout.telemetry import propagation
from request_callout.telemetry.propagation import Fields, Headers, Place, Propagation

B3 = {"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def told(headers: Headers) -> Fields:
    """What a callee of a request with these headers is told."""
    place, tell = Propagation().extract({"traceparent": PARENT, **headers})
    assert place is not None
    return tell(place)


LONGEST = ",".join(f"k{number:02}=" + "v" * 252 for number in range(32))[:8192]
"""32 members: as many as a ``tracestate`` may have (W3C Trace Context, section 3.3.1.1)."""


def test_a_long_state_is_passed_on() -> None:
    """A ``tracestate`` of up to 8192 characters reaches callees as it came."""
    assert told({"tracestate": LONGEST}) == [("traceparent", PARENT), ("tracestate", LONGEST)]


@pytest.mark.parametrize(
    "state",
    [
        LONGEST + " ",
        [LONGEST, "a=1"],
        ["a=1"] * 2000,
        ",".join(f"k{number}=v" for number in range(33)),
        "k=v" + "," * 9000,
        "a=1" + " " * 64 + ",b=2",
        "a=1" + " \t" * 4000 + ",b=2",
    ],
    ids=["longer", "longer together", "many", "members", "commas", "blanks", "tabs"],
)
def test_a_state_that_is_too_much_is_dropped(state: str | list[str]) -> None:
    """What has more members, characters or blanks in a row than is sensible goes to nobody; the trace goes on."""
    assert told({"tracestate": state}) == [("traceparent", PARENT)]


@pytest.mark.parametrize(
    "baggage", ["k=" + "v" * 9000, ["k=v"] * 3000, "a=1" + " " * 64 + ",b=2"], ids=["long", "many", "blanks"]
)
def test_baggage_that_is_too_much_is_dropped(monkeypatch: pytest.MonkeyPatch, baggage: str | list[str]) -> None:
    """The same for baggage, where it is passed on at all."""
    passing_on = Propagation()
    monkeypatch.setattr(passing_on, "_named", W3CBaggagePropagator())
    place = Place(b"\1" * 16, b"\2" * 8, 1)
    _, tell = passing_on.extract({"baggage": baggage})
    assert tell(place) == []
    _, tell = passing_on.extract({"baggage": "a=1 ,b=2"})
    assert tell(place) == [("baggage", "a=1,b=2")]


@pytest.mark.parametrize(
    ("formats", "replaced"),
    [
        ([TraceContextTextMapPropagator()], {"traceparent", "tracestate"}),
        ([W3CBaggagePropagator()], {"baggage"}),
        ([B3SingleFormat()], B3),
        ([B3MultiFormat(), TraceContextTextMapPropagator()], {"traceparent", "tracestate"} | B3),
    ],
)
def test_the_formats_that_are_named_are_replaced(
    monkeypatch: pytest.MonkeyPatch, formats: list[TextMapPropagator], replaced: set[str]
) -> None:
    """No callee gets the client's own headers of a format that is passed on, in whichever form of B3; others it may."""
    monkeypatch.setenv("OTEL_PROPAGATORS", "named")
    monkeypatch.setattr(propagation, "get_global_textmap", lambda: CompositePropagator(formats))
    assert Propagation().replaces == replaced
