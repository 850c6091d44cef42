"""What those that follow requests are told, and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from request_callout.engine.answer import Answer
from request_callout.engine.call import Call
from request_callout.engine.client import Part
from request_callout.engine.run import Run
from request_callout.transport import IncomingResponse, OutgoingRequest, TransportError
from tests.unit.engine.gevent_callee import Callee, Reply
from tests.unit.engine.kong_double import KongDouble


class Attempt:
    def __init__(self, told: list[Any]) -> None:
        self._told = told

    def ended(self, outcome: IncomingResponse | TransportError | None) -> None:
        self._told.append(("ended", outcome.status if isinstance(outcome, IncomingResponse) else outcome))


class Request:
    def __init__(self, run: Run, told: list[Any]) -> None:
        self._run = run
        self._told = told

    def attempt(self, call: Call, request: OutgoingRequest) -> Attempt:
        request.headers = [*request.headers, ("traceparent", "00-1")]
        self._told.append(("attempt", call.name, call.attempts))
        return Attempt(self._told)

    def callout(self, call: Call) -> None:
        self._told.append(("callout", call.name, call.index, call.result))

    def end(self, answer: Answer | None) -> None:
        self._told.append(("end", answer and answer.status, self._run.failure))


class Watching:
    """Keeps what it is told, in order."""

    reads: tuple[Part, ...] = ("request_id",)

    def __init__(self) -> None:
        self.told: list[Any] = []

    def begin(self, run: Run) -> Request:
        self.told.append(("begin", run.client.has("request_id"), run.is_detached))
        return Request(run, self.told)

    def close(self) -> None:
        self.told.append("close")


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee()
    yield callee
    callee.close()


def told(config: dict[str, Any], kong: KongDouble | None = None) -> list[Any]:
    """What is told of one event, without its beginning."""
    watching = Watching()
    engine = Engine(Settings(deadline_ms=5_000), observers=[watching])
    instance = engine.instance({"__plugin_id": "p", **config})
    assert instance.problems == ()
    instance.access(kong or KongDouble())
    engine.close()
    assert watching.told.pop(0) == ("begin", True, False)
    assert watching.told.pop() == "close"
    return watching.told


def test_a_callout_is_told_with_its_attempt_and_the_end(callee: Callee) -> None:
    """Beginning, attempt, its end, the callout, the end: in this order."""
    assert told({"callouts": [{"name": "a", "request": {"url": callee.url}}]}) == [
        ("attempt", "a", 1),
        ("ended", 200),
        ("callout", "a", None, "ok"),
        ("end", None, None),
    ]


def test_headers_that_are_added_go_out(callee: Callee) -> None:
    """An observer can add headers to an attempt."""
    told({"callouts": [{"name": "a", "request": {"url": callee.url}}]})
    assert callee.asked[0]["HTTP_TRACEPARENT"] == "00-1"


def test_each_attempt_of_a_failing_callout_is_told(callee: Callee) -> None:
    """Retries are attempts; the error that ended the request is the result, and its reason the failure."""
    callee.reply = lambda number: Reply({}, status=503)
    error = {"on_error": "retry", "retries": 1, "http_statuses": [503]}
    events = told({"callouts": [{"name": "a", "request": {"url": callee.url, "error": error}}]})
    assert events[:-1] == [
        ("attempt", "a", 1),
        ("ended", 503),
        ("attempt", "a", 2),
        ("ended", 503),
        ("callout", "a", None, "failed"),
    ]
    assert events[-1][:2] == ("end", 400)
    assert "callout a" in events[-1][2]


def test_no_connection_is_the_outcome_of_an_attempt() -> None:
    """What the transport raises is told; the request goes on under ``continue``."""
    error = {"on_error": "continue"}
    events = told({"callouts": [{"name": "a", "request": {"url": "http://127.0.0.1:1/", "error": error}}]})
    assert isinstance(events[1][1], TransportError)
    assert events[2:] == [("callout", "a", None, "tolerated"), ("end", None, None)]


@pytest.mark.parametrize(
    ("callout", "result"),
    [
        ({"when": "$(false)"}, "skipped"),
        ({"request": {"by_lua": "kong.response.exit(418)"}}, "exit"),
        ({"request": {"by_lua": "error('x')"}}, "script_error"),
        ({"request": {"url": "$('no url')"}}, "refused"),
        (
            {"request": {"url": "http://127.0.0.1:1/", "error": {"on_error": "continue", "fallback": {}}}},
            "fallback",
        ),
    ],
)
def test_every_end_of_a_callout_has_a_name(callee: Callee, callout: dict[str, Any], result: str) -> None:
    """What became of a callout is one of few words."""
    merged = {"name": "a", **callout, "request": {"url": callee.url, **callout.get("request", {})}}
    events = [event for event in told({"callouts": [merged]}) if event[0] == "callout"]
    assert events == [("callout", "a", None, result)]


def test_elements_are_told_before_their_list(callee: Callee) -> None:
    """Each element of a list is a callout with its index, and the whole comes last."""
    callout = {"name": "a", "for_each": {"items": "$({1, 2})", "concurrency": 1}, "request": {"url": callee.url}}
    events = [event for event in told({"callouts": [callout]}) if event[0] == "callout"]
    assert events == [("callout", "a", 1, "ok"), ("callout", "a", 2, "ok"), ("callout", "a", None, "ok")]


def test_a_failed_element_fails_its_list(callee: Callee) -> None:
    """The list's result is that of the element that ended the request."""
    callee.reply = lambda number: Reply({}, status=500)
    callout = {
        "name": "a",
        "for_each": {"items": "$({1})"},
        "request": {"url": callee.url, "error": {"http_statuses": [500]}},
    }
    events = [event for event in told({"callouts": [callout]}) if event[0] == "callout"]
    assert [event[2:] for event in events] == [(1, "failed"), (None, "failed")]


def test_a_script_that_fails_for_an_element_fails_its_list(callee: Callee) -> None:
    """The list's result is that of its element here too."""
    callout = {
        "name": "a",
        "for_each": {"items": "$({1})"},
        "request": {"url": callee.url, "by_lua": "error('x')"},
    }
    events = [event for event in told({"callouts": [callout]}) if event[0] == "callout"]
    assert [event[2:] for event in events] == [(1, "script_error"), (None, "script_error")]


def test_a_request_that_is_ended_from_outside_is_told_to_its_end(callee: Callee) -> None:
    """Whoever follows a request hears of its end however it ends, of its callout and its attempt too."""
    watching = Watching()
    engine = Engine(Settings(deadline_ms=5_000), observers=[watching])
    instance = engine.instance({"__plugin_id": "p", "callouts": [{"name": "a", "request": {"url": callee.url}}]})
    callee.gate.clear()
    event = gevent.spawn(instance.access, KongDouble())
    callee.until_asked(1)
    event.kill()
    engine.close()
    assert watching.told[2:] == [
        ("ended", None),
        ("callout", "a", None, "cancelled"),
        ("end", None, None),
        "close",
    ]
