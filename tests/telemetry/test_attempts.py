"""Spans of requests and of the attempts of their callouts: what belongs to what, and what they tell."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from tests.conformance.callee import PATIENCE_S, Callee, Reply, reply_json
from tests.conformance.site import callout
from tests.telemetry.collector import CLIENT, FAILED, INTERNAL, OK, Span
from tests.telemetry.conftest import Traced

RETRIED: dict[str, Any] = {"on_error": "retry", "retries": 2, "http_statuses": [503]}


def dead_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_a_request_has_a_span_and_each_attempt_one_below_it(traced: Traced, callee: Callee) -> None:
    """The client's trace goes on in the request's span, and from there in that of the attempt."""
    traced.site.configure([callout("a", "/a")])
    answer = traced.get()
    attempt, request = traced.spans()
    assert (request.name, request.kind, request.parent, request.status) == (
        "request-callout",
        INTERNAL,
        traced.parent,
        OK,
    )
    assert (attempt.name, attempt.kind, attempt.parent, attempt.status) == ("GET a", CLIENT, request.id, OK)
    assert request.began_ns <= attempt.began_ns <= attempt.ended_ns <= request.ended_ns
    assert request.attributes["kong.request.id"] == answer.header("X-Kong-Request-Id")
    assert request.attributes["kong.route.name"] == traced.site.path[1:]
    assert set(request.attributes) == {
        "kong.request.id",
        "kong.route.id",
        "kong.route.name",
        "request_callout.plugin_id",
    }
    assert attempt.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "request_callout.callout": "a",
        "request_callout.result": "ok",
        "server.address": "127.0.0.1",
        "server.port": callee.port,
        "url.full": f"{callee.url}/a",
        "url.scheme": "http",
    }


def test_the_spans_come_from_this_service(traced: Traced) -> None:
    """Without variables that say otherwise, the service has the plugin's name, and each process an id."""
    traced.site.configure([callout("a", "/a")])
    traced.get()
    resource = traced.request().resource
    assert resource["service.name"] == "request-callout"
    assert {"service.version", "service.instance.id"} <= set(resource)


def test_the_callee_is_told_of_the_attempt(traced: Traced, callee: Callee) -> None:
    """``traceparent`` has the trace and the attempt's own span; ``tracestate`` goes along."""
    traced.site.configure([callout("a", "/a")])
    traced.get(tracestate="vendor=1")
    (attempt,) = traced.attempts()
    assert callee.one().all("traceparent") == [f"00-{traced.trace}-{attempt.id}-01"]
    assert callee.one().all("tracestate") == ["vendor=1"]
    assert attempt.state == "vendor=1"


def test_each_attempt_of_a_retried_callout_has_its_span(traced: Traced, callee: Callee) -> None:
    """Retries count from 1; an error status is the attempt's error, the last result that of all of them."""
    callee.on("/a", Reply(503), Reply(503), reply_json({}))
    traced.site.configure([callout("a", "/a", error=RETRIED)])
    traced.get()
    attempts = traced.attempts()
    assert [one.attributes.get("http.request.resend_count") for one in attempts] == [None, 1, 2]
    assert [one.attributes.get("error.type") for one in attempts] == ["503", "503", None]
    assert [one.status for one in attempts] == [FAILED, FAILED, OK]
    assert {one.attributes["request_callout.result"] for one in attempts} == {"ok"}
    told = [request.header("traceparent") for request in callee.received("/a")]
    assert told == [f"00-{traced.trace}-{one.id}-01" for one in attempts]


def test_a_failed_callout_fails_its_request(traced: Traced, callee: Callee) -> None:
    """The request's span has the error, its reason, and the status of the client's answer."""
    callee.on("/a", Reply(500))
    error = {"http_statuses": [500], "error_response_code": 502}
    traced.site.configure([callout("a", "/a", error=error)])
    assert traced.get().status == 502
    request = traced.request()
    assert (request.status, request.attributes["error.type"]) == (FAILED, "failed")
    assert request.message.startswith("callout a: ")
    assert request.attributes["request_callout.answer_status_code"] == 502


def test_an_answer_that_was_asked_for_is_no_error(traced: Traced) -> None:
    """What ``upstream.respond`` answers is only noted."""
    traced.site.configure([], upstream={"respond": {"status": 418}})
    assert traced.get().status == 418
    request = traced.request()
    assert (request.status, request.attributes["request_callout.answer_status_code"]) == (OK, 418)


@pytest.mark.parametrize("ending", [{}, {"respond": {"status": 418}}], ids=["proxied", "answered"])
def test_the_ids_of_kong_are_there_however_a_request_ends(traced: Traced, ending: dict[str, Any]) -> None:
    """What Kong calls the request and its route is told, whoever answers the client, also when asked again."""
    traced.site.configure([callout("a", "/a")], upstream=ending)
    ids = {traced.get().header("X-Kong-Request-Id") for _ in range(3)}
    requests = [span for span in traced.spans(requests=3) if span.kind == INTERNAL]
    assert {span.attributes["kong.request.id"] for span in requests} == ids
    assert {span.attributes["kong.route.name"] for span in requests} == {traced.site.path[1:]}


def test_no_connection_is_told_by_its_kind(traced: Traced) -> None:
    """What ends an attempt without a response is one of few words."""
    port = dead_port()
    traced.site.configure([callout("a", f"http://127.0.0.1:{port}/", error={"on_error": "continue"})])
    traced.get()
    (attempt,) = traced.attempts()
    assert (attempt.status, attempt.attributes["error.type"]) == (FAILED, "connect")
    assert f"127.0.0.1:{port}" in attempt.message
    assert attempt.attributes["request_callout.result"] == "tolerated"
    assert traced.request().status == OK


def test_no_answer_in_time_is_a_timeout(traced: Traced, callee: Callee) -> None:
    """An attempt that takes too long has the error ``timeout``."""
    ended = threading.Event()
    callee.on("/a", Reply(hold=lambda: ended.wait(PATIENCE_S)))
    options = {"timeouts": {"connect": 5000, "write": 5000, "read": 50}}
    traced.site.configure([callout("a", "/a", http_opts=options, error={"on_error": "continue"})])
    traced.get()
    ended.set()
    (attempt,) = traced.attempts()
    assert (attempt.status, attempt.attributes["error.type"]) == (FAILED, "timeout")


def test_what_is_refused_ends_the_request(traced: Traced, callee: Callee) -> None:
    """A destination that is not allowed is the attempt's error and the request's."""
    traced.site.configure([callout("a", "/a", destination={"deny_networks": ["127.0.0.0/8"]})])
    traced.get()
    (attempt,) = traced.attempts()
    assert attempt.attributes["error.type"] == "destination"
    assert attempt.attributes["request_callout.result"] == "refused"
    assert (traced.request().status, traced.request().attributes["error.type"]) == (FAILED, "refused")
    assert not callee.received()


def test_the_slower_of_two_attempts_is_given_up(traced: Traced, callee: Callee) -> None:
    """Of a hedged callout one attempt has the response, the other was given up and is no error."""
    ended = threading.Event()
    callee.on("/a", Reply(hold=lambda: ended.wait(PATIENCE_S)), reply_json({}))
    traced.site.configure([callout("a", "/a", hedge_after_ms=20)])
    traced.get()
    ended.set()
    first, second = traced.attempts()
    assert first.attributes["request_callout.given_up"] is True
    assert (first.status, "http.response.status_code" in first.attributes) == (OK, False)
    assert second.attributes["http.response.status_code"] == 200
    assert second.attributes["http.request.resend_count"] == 1


def test_a_callout_that_ends_with_its_request_is_given_up(traced: Traced, callee: Callee) -> None:
    """Where another callout ends the request, the attempt under way has its span all the same."""
    ended = threading.Event()
    callee.on("/slow", Reply(hold=lambda: ended.wait(PATIENCE_S)))
    callee.on("/bad", Reply(500, hold=lambda: callee.arrived("/slow")))
    failing = callout("bad", "/bad", error={"http_statuses": [500]})
    traced.site.configure([failing, callout("slow", "/slow")])
    traced.get()
    ended.set()
    slow = next(one for one in traced.attempts() if one.callout == "slow")
    assert slow.attributes["request_callout.given_up"] is True
    assert slow.attributes["request_callout.result"] == "cancelled"


def test_elements_have_their_index(traced: Traced) -> None:
    """Each element's attempt tells which it is, and the list is an event with their number."""
    each = {**callout("a", "/a"), "for_each": {"items": "$({1, 2, 3})"}}
    traced.site.configure([each])
    traced.get()
    assert sorted(one.attributes["request_callout.index"] for one in traced.attempts()) == [1, 2, 3]
    ((name, attributes),) = traced.request().events
    assert (name, attributes["request_callout.items"], attributes["request_callout.failed_items"]) == ("callout", 3, 0)


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"when": "$(false)"}, "skipped"),
        ({"by_lua": "error('x')"}, "script_error"),
        ({"by_lua": "kong.response.exit(204)"}, "exit"),
    ],
)
def test_a_callout_without_an_attempt_is_an_event(traced: Traced, changes: dict[str, Any], result: str) -> None:
    """What was never sent stands in the request's span with what became of it."""
    one = callout("a", "/a", **{name: value for name, value in changes.items() if name == "by_lua"})
    one |= {name: value for name, value in changes.items() if name == "when"}
    traced.site.configure([one])
    traced.get()
    expected = {"request_callout.callout": "a", "request_callout.result": result}
    assert traced.request().events == [("callout", expected)]
    assert traced.attempts() == []


def test_the_cache_is_told(traced: Traced, callee: Callee) -> None:
    """A miss is an attribute of the attempt, a hit an event."""
    traced.site.configure([callout("a", "/a")], cache={"strategy": "memory"})
    traced.get()
    assert traced.attempts()[0].attributes["request_callout.cache"] == "miss"
    traced.get()
    hit = traced.spans(requests=2)[-1]
    expected = {"request_callout.callout": "a", "request_callout.cache": "hit", "request_callout.result": "ok"}
    assert hit.events == [("callout", expected)]
    assert len(callee.received()) == 1


def test_a_refresh_has_a_trace_of_its_own_that_is_linked(traced: Traced, callee: Callee) -> None:
    """What is fetched anew in the background is no part of the request, but can be found from it."""
    cache = {"ttl": "0.05", "stale_while_revalidate": 60}
    traced.site.configure([callout("a", "/a", cache=cache)], cache={"strategy": "memory"})
    while not refreshes(traced):  # what took longer than the time to live to arrive is not even stored
        traced.get()
    (refresh, *_), spans = refreshes(traced), traced.collector.spans()
    assert (refresh.parent, refresh.links[0][0]) == ("", traced.trace)
    began = next(span for span in spans if span.id == refresh.links[0][1])
    told_by_kong = {"kong.request.id", "kong.route.id", "kong.route.name"}
    assert {one: refresh.attributes[one] for one in told_by_kong} == {
        one: began.attributes[one] for one in told_by_kong
    }
    assert refresh.links[0][1] in {span.id for span in spans if span.trace == traced.trace}
    (attempt,) = [span for span in spans if span.parent == refresh.id]
    told = [request.header("traceparent") or "" for request in callee.received()]
    assert [one[:-2] for one in told].count(f"00-{refresh.trace}-{attempt.id}-") == 1


def refreshes(traced: Traced) -> list[Span]:
    return [one for one in traced.collector.spans("request-callout refresh") if one.links[0][0] == traced.trace]


def test_a_method_that_is_not_usual_makes_no_name(traced: Traced, callee: Callee) -> None:
    """Names of spans are few: a method that HTTP does not know is an attribute only."""
    traced.site.configure([callout("a", "/a", method="PURGE")])
    traced.get()
    (attempt,) = traced.attempts()
    assert callee.one().method == "PURGE"
    assert attempt.name == "HTTP a"
    assert attempt.attributes["http.request.method"] == "_OTHER"
    assert attempt.attributes["http.request.method_original"] == "PURGE"
