"""Spans at the edges of a request's life."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from request_callout.engine.client import Part
from request_callout.engine.kong import Call, ConnectionLost
from request_callout.telemetry import spans as telemetry_spans
from request_callout.telemetry.otel_settings import Tracing
from request_callout.telemetry.otlp import Span
from request_callout.telemetry.propagation import Place
from request_callout.telemetry.span_export import SdkLog
from request_callout.telemetry.spans import Spans
from tests.unit.engine.kong_double import KongDouble


class Gone(KongDouble):
    """A Kong that is there for the first exchange only: what is asked later is never answered."""

    def read(self, calls: Sequence[Call]) -> list[Any]:
        if self.exchanges:
            raise ConnectionLost("gone")
        return super().read(calls)

    def ask(self, call: Call, told: Callable[[Any], None]) -> None:
        self.log.append(call)


class Late(KongDouble):
    """A Kong that answers what it is asked when the event is over."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: list[tuple[Call, Callable[[Any], None]]] = []

    def ask(self, call: Call, told: Callable[[Any], None]) -> None:
        self.log.append(call)
        self._asked.append((call, told))

    def tell(self) -> None:
        for call, told in self._asked:
            told(self._reply(call))


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> tuple[Engine, list[Span]]:
    """An engine that records spans, and what it would have sent."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "2")
    monkeypatch.setattr(SdkLog, "take_over", lambda self: None)
    spans = Spans()
    found: list[Span] = []
    monkeypatch.setattr(spans.tracing, "export", found.append)
    return Engine(Settings(), observers=[spans]), found


def test_a_request_that_ends_inside_kong_has_its_span(exported: tuple[Engine, list[Span]]) -> None:
    """It is told as failed, without what only Kong could have said."""
    engine, found = exported
    upstream = {"by_lua": "kong.request.get_header('a')"}
    with pytest.raises(ConnectionLost):
        engine.instance({"__plugin_id": "p", "callouts": [], "upstream": upstream}).access(Gone())
    (span,) = found
    assert b"the request ended inside Kong" in span.status
    assert [b"kong.request.id" in one for one in span.attributes] == [False, False]


def test_what_is_not_sampled_asks_kong_for_the_headers_only(
    exported: tuple[Engine, list[Span]],
) -> None:
    """Nothing but the headers is needed to pass a trace on; a request that is recorded asks for the rest at its end."""
    engine, found = exported
    instance = engine.instance({"__plugin_id": "p", "callouts": []})
    asked = {}
    for flags in ("00", "01"):
        kong = KongDouble(kong__request__get_headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-{flags}"})
        instance.access(kong)
        asked[flags] = (kong.exchanges, [name for name, _ in kong.log if ".get_" in name])
    assert asked["00"] == (1, ["kong.request.get_headers"])
    assert asked["01"] == (1, ["kong.request.get_headers", "kong.router.get_route", "kong.nginx.get_var"])
    assert len(found) == 1


@pytest.mark.parametrize("known", [(), ("request_id",), ("route",), ("route", "request_id")])
def test_what_was_read_for_something_else_is_not_asked_again(
    exported: tuple[Engine, list[Span]], monkeypatch: pytest.MonkeyPatch, known: tuple[Part, ...]
) -> None:
    """Whichever of route and id is known before the end, and however late the other comes, the span has both, once."""
    engine, found = exported
    monkeypatch.setattr(Spans, "reads", ("headers", *known))
    kong = Late()
    engine.instance({"__plugin_id": "p", "callouts": []}).access(kong)
    kong.tell()
    (span,) = found
    joined = b"".join(span.attributes)
    assert (joined.count(b"kong.request.id"), joined.count(b"kong.route.id")) == (1, 1)
    assert len([name for name, _ in kong.log if name == "kong.router.get_route"]) == 1


@pytest.mark.parametrize("step_ns", [-(10**12), 10**12], ids=["back", "ahead"])
def test_a_clock_that_is_set_does_not_bend_spans(
    exported: tuple[Engine, list[Span]], monkeypatch: pytest.MonkeyPatch, step_ns: int
) -> None:
    """What begins and ends within a request is told in the time that has passed since its beginning."""
    engine, found = exported
    clock = {"ns": 10**18}
    own = SimpleNamespace(time_ns=lambda: clock["ns"], monotonic_ns=time.monotonic_ns)
    monkeypatch.setattr(telemetry_spans, "time", own)

    class Setting(KongDouble):
        def read(self, calls: Sequence[Call]) -> list[Any]:
            if self.exchanges:
                clock["ns"] += step_ns
            return super().read(calls)

    event = {"name": "a", "request": {"url": "http://127.0.0.1:1/", "error": {"on_error": "continue"}}}
    instance = engine.instance(
        {"__plugin_id": "p", "callouts": [event], "upstream": {"by_lua": "kong.request.get_header('a')"}}
    )
    instance.access(Setting())
    assert clock["ns"] != 10**18
    attempt, request = found
    assert request.began_ns <= attempt.began_ns <= attempt.ended_ns <= request.ended_ns < 10**18 + 10**11


@pytest.mark.parametrize(
    ("given", "told"), [(None, 0b11), (0b00, 0b00), (0b01, 0b01), (0b10, 0b10), (0xFF, 0b11)], ids=str
)
def test_a_trace_says_whether_its_id_is_random(monkeypatch: pytest.MonkeyPatch, given: int | None, told: int) -> None:
    """Ours is; of a client's trace this is kept as it came, and flags that nobody knows yet are not (W3C, level 2)."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setattr(SdkLog, "take_over", lambda self: None)
    parent = None if given is None else Place(b"1" * 16, b"2" * 8, given, "a=1")
    place = Tracing().begin(parent)
    assert place.flags == told
    if parent is not None:
        assert (place.trace_id, place.state) == (parent.trace_id, parent.state)
        assert place.span_id != parent.span_id


@pytest.mark.parametrize(("callouts", "kept", "dropped"), [(1, 1, 0), (2, 2, 0), (4, 2, 2)])
def test_a_span_has_no_more_events_than_the_limit(
    exported: tuple[Engine, list[Span]], callouts: int, kept: int, dropped: int
) -> None:
    """``OTEL_SPAN_EVENT_COUNT_LIMIT`` of them; the rest is counted."""
    engine, found = exported
    skipped = [{"name": name, "when": "$(false)", "request": {"url": "http://a/"}} for name in "abcd"[:callouts]]
    engine.instance({"__plugin_id": "p", "callouts": skipped}).access(KongDouble())
    (span,) = found
    assert (len(span.events), span.dropped_events) == (kept, dropped)
