"""Fallbacks, errors by expression, and the times that bound a callout and a request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from gevent.event import Event

from request_callout.engine import Engine
from tests.unit.engine.gevent_callee import (
    PATIENCE_S,
    Callee,
    Clock,
    Reply,
    callout,
    configured,
    engine_with,
    event,
    seen,
    spawned,
    until,
)

CONTINUE = {"on_error": "continue"}
FALLBACK = {"status": 200, "headers": {"X-From": "$(headers.host)"}, "body": '{"who": "$(headers.host)"}'}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    engine = engine_with(clock)
    yield engine
    engine.close()


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee(lambda number: Reply({"n": number}, 503))
    yield callee
    callee.close()


def falling_back(callee: Callee, fallback: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    error = {"http_statuses": [503], "on_error": "continue", "fallback": fallback or FALLBACK}
    return callout(callee, error=error, **parts)


def test_a_fallback_stands_for_the_response(engine: Engine, callee: Callee) -> None:
    """Status, headers and the decoded body are the configured ones, and the context tells of the error."""
    one = event(configured(engine, falling_back(callee)))
    response = one.context["response"]
    assert (response["status"], response["body"]) == (200, {"who": "gateway.test"})
    assert response["headers"] == {"x-from": "gateway.test"}
    assert one.context["fallback"] is True
    assert one.context["request"]["error"] == {"reason": "code", "err": "status 503", "http_code": 503}
    assert (one.fields["status"], one.fields["error"]) == (200, "status 503")


def test_without_an_error_there_is_no_fallback(engine: Engine, callee: Callee) -> None:
    """A callout that succeeds has its own response, and no mark."""
    callee.reply = lambda number: Reply({"n": number})
    one = event(configured(engine, falling_back(callee)))
    assert one.body == {"n": 1}
    assert "fallback" not in one.context


def test_the_script_of_the_response_runs_on_a_fallback(engine: Engine, callee: Callee) -> None:
    """response.by_lua sees the fallback as the response, with its mark and the error, and may change it."""
    script = """
        local own = kong.ctx.shared.callouts.a
        own.response.body.seen = tostring(own.fallback) .. own.request.error.reason
    """
    one = event(configured(engine, falling_back(callee, response={"body": {"decode": True}, "by_lua": script})))
    assert one.body == {"who": "gateway.test", "seen": "truecode"}
    assert one.context["fallback"] is True


def test_each_element_has_its_own_fallback(engine: Engine, callee: Callee) -> None:
    """With for_each the fallback stands for the elements that failed, and sees them."""
    callee.reply = lambda number: Reply({"n": number}, 503 if callee.asked[-1]["PATH_INFO"] == "/b" else 200)
    fallback = {"status": 404, "body": '{"instead of": "$(item)"}'}
    each = {"items": "$({'a', 'b', 'c'})", "concurrency": 1}
    config = falling_back(callee, fallback, url=f"{callee.url}$(item)")
    items = event(configured(engine, {**config, "for_each": each})).context["response"]["items"]
    assert [item["body"] for item in items] == [{"n": 1}, {"instead of": "b"}, {"n": 3}]
    assert [item.get("fallback") for item in items] == [None, True, None]


def test_an_expression_calls_single_elements_errors(engine: Engine, callee: Callee) -> None:
    """With for_each error.when sees the response of each element as that of the callout, and its element."""
    each = {"items": "$({1, 2, 3, 4})", "concurrency": 4}
    callee.reply = lambda number: Reply({"n": int(callee.asked[-1]["PATH_INFO"][1:])})
    error = {"when": "$(callouts.a.response.body.n == 3 and item == 3)", "on_error": "continue"}
    config = callout(callee, url=f"{callee.url}$(item)", error=error)
    items = event(configured(engine, {**config, "for_each": each})).context["response"]["items"]
    assert [item.get("error", {}).get("err") for item in items] == [None, None, "error.when", None]


def test_a_fallback_is_decoded_by_the_format_of_the_response(engine: Engine, callee: Callee) -> None:
    """A fallback of a callout that reads forms is read as one, and so is what there was of a failed response."""
    fallback = falling_back(callee, {"status": 200, "body": "a=1"}, response={"body": {"format": "form"}})
    assert event(configured(engine, fallback)).body == {"a": "1"}
    callee.reply = lambda number: Reply(b"b=2", 503)
    error = {"http_statuses": [503], "on_error": "continue"}
    assert event(configured(engine, callout(callee, error=error, response={"body": {"format": "form"}}))).body == {
        "b": "2"
    }


def test_a_fallback_that_is_no_json_stays_text(engine: Engine, callee: Callee) -> None:
    """A body that can't be decoded is given as it is."""
    one = event(configured(engine, falling_back(callee, {"status": 204, "body": "sorry"})))
    assert one.body == "sorry"


def test_a_fallback_without_a_body(engine: Engine, callee: Callee) -> None:
    """Without a body there is none in the context."""
    one = event(configured(engine, falling_back(callee, {"status": 204})))
    assert one.context["response"] == {"status": 204, "headers": {}}


def test_a_fallback_is_never_stored(engine: Engine, callee: Callee) -> None:
    """While the callee fails it is asked each time; its first success is what is stored."""
    instance = configured(engine, falling_back(callee))
    assert [event(instance).context.get("fallback") for _ in range(2)] == [True, True]
    callee.reply = lambda number: Reply({"n": number})
    assert [event(instance).body for _ in range(2)] == [{"n": 3}, {"n": 3}]


def test_the_error_behind_a_fallback_may_be_stored(engine: Engine, callee: Callee, clock: Clock) -> None:
    """With a negative ttl the callee's own error is kept, and each hit of it gives the fallback."""
    instance = configured(engine, falling_back(callee, cache={"negative_ttl": 10}))
    found = [event(instance) for _ in range(3)]
    assert [(one.state, one.body) for one in found] == [
        ("miss", {"who": "gateway.test"}),
        ("hit", {"who": "gateway.test"}),
        ("hit", {"who": "gateway.test"}),
    ]
    assert len(callee.asked) == 1
    clock.now += 10
    assert event(instance).state == "miss"


def test_each_that_waited_has_its_own_fallback(engine: Engine, callee: Callee) -> None:
    """Requests that shared one failed call each render the fallback from their own request."""
    instance = configured(engine, falling_back(callee, {"status": 200, "body": '"$(query_params.who)"'}))
    callee.gate.clear()
    one = spawned(instance, kong__request__get_raw_query="who=a")
    other = spawned(instance, kong__request__get_raw_query="who=b")
    callee.gate.set()
    assert [found.body for found in seen(one + other)] == ["a", "b"]
    assert len(callee.asked) == 1


@pytest.mark.parametrize(
    ("expression", "is_error"),
    [
        ("$(callouts.a.response.body.error)", True),
        ("$(callouts.a.response.body.nothing)", False),
        ("$(callouts.a.response.body.null)", False),
        ("$(callouts.a.response.body.no)", False),
        ("$(callouts.a.response.body.zero)", True),
        ("$(callouts.a.response.body.empty)", True),
        ("$(callouts.a.response.body.zero > 0)", False),
        ("$(callouts.a.response.status == 200)", True),
        ('$(callouts.a.response.headers["x-state"] == "bad")', True),
        ("$(callouts.a.response.headers.x_state == 'good')", False),
        ("$(cjson_is_not_here)", False),
        ("$(headers.host == 'gateway.test' and callouts.a.response.body.error ~= nil)", True),
    ],
)
def test_an_expression_may_call_a_response_an_error(
    engine: Engine, callee: Callee, expression: str, is_error: bool
) -> None:
    """Anything but nil, null and false is an error; the expression sees the decoded response as its callout's."""
    body = {"error": "out of order", "null": None, "no": False, "zero": 0, "empty": ""}
    callee.reply = lambda number: Reply(body, headers={"X-State": "bad"})
    one = event(configured(engine, callout(callee, error={"when": expression, "on_error": "continue"})))
    found = one.context["request"].get("error")
    assert found == ({"reason": "error", "err": "error.when", "http_code": 200} if is_error else None)
    assert one.body["error"] == "out of order", "the response is there, also as an error's"


def test_an_error_by_expression_is_tried_again(engine: Engine, callee: Callee) -> None:
    """It counts for retries, each response by itself, and its last state is what the context shows."""
    callee.reply = lambda number: Reply({"error": number} if number < 3 else {"fine": number})
    error = {"when": "$(callouts.a.response.body.error ~= nil)", "retries": 3}
    one = event(configured(engine, callout(callee, error=error)))
    assert (one.body, one.context["request"]["n_retries"]) == ({"fine": 3}, 2)
    assert one.context["request"]["retries"][0] == {"reason": "error", "err": "error.when", "http_code": 200}


@pytest.mark.parametrize("script", [None, "kong.ctx.shared.seen = 1"])
def test_nothing_of_a_refused_response_remains(engine: Engine, callee: Callee, over: Event, script: str | None) -> None:
    """When the attempt after it has no response at all, there is none in the context, also where scripts have run."""

    def reply(number: int) -> Reply:
        if number == 2:
            over.wait(PATIENCE_S)
        return Reply({"error": 1})

    callee.reply = reply
    parts: dict[str, Any] = {} if script is None else {"by_lua": script}
    request = callout(
        callee,
        error={"when": "$(callouts.a.response.body.error ~= nil)", "retries": 1},
        http_opts={"timeouts": {"connect": 500, "write": 500, "read": 50}},
        **parts,
    )
    one = event(configured(engine, request))
    assert one.kong.answer is not None
    assert "response" not in one.context
    assert one.context["request"]["n_retries"] == 1


@pytest.fixture
def over() -> Iterator[Event]:
    over = Event()
    yield over
    over.set()


def test_an_error_by_expression_is_not_stored(engine: Engine, callee: Callee) -> None:
    """A response that the expression calls an error is no response to keep."""
    callee.reply = lambda number: Reply({"error": number})
    error = {"when": "$(callouts.a.response.body.error)", "on_error": "continue"}
    instance = configured(engine, callout(callee, error=error))
    assert [event(instance).state for _ in range(2)] == ["miss", "miss"]


def test_an_expression_that_fails_ends_the_request(engine: Engine, callee: Callee, caplog: Any) -> None:
    """A failing error.when gives 500, as any expression, and the log names the field."""
    callee.reply = lambda number: Reply(b"[]")
    one = event(configured(engine, callout(callee, error={"when": "$(callouts.a.response.body.x.y)", "retries": 3})))
    assert one.kong.answer is not None
    assert one.kong.answer[0] == 500
    assert "config.callouts[1].request.error.when" in caplog.text
    assert len(callee.asked) == 1


def test_the_total_bounds_the_retries(engine: Engine, callee: Callee, over: Event) -> None:
    """What is left of the total bounds every attempt; reaching it is an error like any other."""
    callee.gate.clear()
    timeouts = {"connect": 40, "write": 40, "read": 40, "total": 100}
    request = callout(callee, error={"retries": 50}, http_opts={"timeouts": timeouts})
    one = event(configured(engine, request))
    assert one.kong.answer is not None
    assert one.kong.answer[0] == 400
    assert 1 < one.fields["attempts"] < 10
    assert one.fields["error"] == "the total time of 100 ms for this callout has passed"
    assert one.context["request"]["params"]["timeouts"]["total"] == 100


def test_the_total_may_stand_alone(engine: Engine, callee: Callee) -> None:
    """Alone it leaves the other timeouts at their defaults, and an answer in time is not touched by it."""
    callee.reply = lambda number: Reply({"n": number})
    request = callout(callee, http_opts={"timeouts": {"total": 5000}})
    assert event(configured(engine, request)).body == {"n": 1}
    callee.gate.clear()
    late = callout(callee, url=f"{callee.url}late", http_opts={"timeouts": {"total": 30}}, error=CONTINUE)
    one = event(configured(engine, late))
    assert one.context["request"]["error"]["err"] == "the total time of 30 ms for this callout has passed"


def test_a_script_may_change_the_total(engine: Engine, callee: Callee) -> None:
    """What request.by_lua leaves in timeouts.total counts."""
    callee.gate.clear()
    script = "kong.ctx.shared.callouts.a.request.params.timeouts.total = 30"
    request = callout(callee, http_opts={"timeouts": {"total": 60_000}}, by_lua=script)
    assert event(configured(engine, request)).fields["error"].startswith("the total time of 30 ms")


def test_no_pause_outlasts_the_total(engine: Engine, callee: Callee) -> None:
    """A pause that would go beyond the total is not made: the last error is the outcome, at once."""
    callee.reply = lambda number: Reply({}, 503, {"Retry-After": "9"})
    error = {"http_statuses": [503], "retries": 3, "retry_after": True}
    started = time.monotonic()
    one = event(configured(engine, callout(callee, error=error, http_opts={"timeouts": {"total": 2000}})))
    assert time.monotonic() - started < 2
    assert (one.fields["attempts"], one.fields["error"]) == (1, "status 503")


def test_the_configuration_may_shorten_the_deadline(engine: Engine, callee: Callee) -> None:
    """deadline_ms bounds all callouts of a request, in the place of the server's option."""
    callee.gate.clear()
    one = event(configured(engine, callout(callee, error={"retries": 5}), deadline_ms=50))
    assert one.kong.answer is not None
    assert "deadline" in one.fields["error"]
    assert one.fields["latency"] < 4000


def test_the_configuration_may_lengthen_the_deadline(callee: Callee) -> None:
    """A longer deadline than the server's option holds, too."""
    engine = engine_with(deadline_ms=1)
    callee.reply = lambda number: Reply({"n": number})
    refused = configured(engine, callout(callee))
    allowed = configured(engine, callout(callee), deadline_ms=50_000)
    assert allowed.deadline_ms == 50_000
    assert refused.deadline_ms == 1
    assert event(allowed).body == {"n": 1}
    engine.close()


def test_those_who_wait_share_the_end_by_the_total(engine: Engine, callee: Callee) -> None:
    """The total belongs to the callout: when it ends the one that fetches, those who wait for it have its error."""
    callee.gate.clear()
    error = {"on_error": "continue"}
    instance = configured(engine, callout(callee, http_opts={"timeouts": {"total": 50}}, error=error))
    found = seen(spawned(instance, 4))
    assert {one.context["request"]["error"]["err"] for one in found} == {
        "the total time of 50 ms for this callout has passed"
    }
    assert sum(one.fields["attempts"] for one in found) == 1
    until(lambda: len(engine.flights) == 0)


def test_pauses_are_made_once_for_all_that_wait(engine: Engine, callee: Callee) -> None:
    """The retries of the one that fetches are those of all who wait for it."""
    callee.reply = lambda number: Reply({"n": number}, 503 if number < 3 else 200)
    error = {"http_statuses": [503], "retries": 2, "backoff": {"initial_ms": 20, "max_ms": 20}}
    instance = configured(engine, callout(callee, error=error))
    found = seen(spawned(instance, 4))
    assert [one.body for one in found] == [{"n": 3}] * 4
    assert sorted(one.fields["attempts"] for one in found) == [0, 0, 0, 3]
