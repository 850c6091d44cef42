"""The circuit breaker on the way of a callout: what it counts, what it refuses, and who shares it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from request_callout.engine import Engine
from request_callout.engine.circuits import Circuits
from tests.unit.engine.gevent_callee import (
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

BREAKER = {"failures": 2, "open_ms": 5000}
CONTINUE = {"http_statuses": [503], "on_error": "continue"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    engine = engine_with()
    engine.circuits = Circuits(clock)
    yield engine
    engine.close()


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee(lambda number: Reply({"n": number}, 503))
    yield callee
    callee.close()


def guarded(callee: Callee, **parts: Any) -> dict[str, Any]:
    """A callout with a circuit breaker, by default one that asks each time."""
    return callout(callee, **{"error": CONTINUE, "circuit_breaker": BREAKER, "cache": {"bypass": True}, **parts})


def test_an_open_circuit_costs_no_attempt(engine: Engine, callee: Callee) -> None:
    """After enough failures the callout fails with reason circuit_open, and the callee is not asked."""
    instance = configured(engine, guarded(callee))
    reasons = [event(instance).context["request"]["error"]["reason"] for _ in range(4)]
    assert reasons == ["code", "code", "circuit_open", "circuit_open"]
    refused = event(instance)
    assert refused.fields["attempts"] == 0
    assert refused.fields["error"].startswith(f"the circuit to {callee.url[:-1]} is open for another ")
    assert "response" not in refused.context
    assert len(callee.asked) == 2


def test_it_closes_when_a_probe_succeeds(engine: Engine, callee: Callee, clock: Clock) -> None:
    """After open_ms a callout is let through, and if it succeeds, all that follow."""
    instance = configured(engine, guarded(callee))
    for _ in range(3):
        event(instance)
    callee.reply = lambda number: Reply({"n": number})
    clock.now += 5
    assert [event(instance).body["n"] for _ in range(3)] == [3, 4, 5]


def test_one_probe_at_a_time(engine: Engine, callee: Callee, clock: Clock) -> None:
    """While the probe is under way others are refused."""
    instance = configured(engine, guarded(callee))
    for _ in range(2):
        event(instance)
    clock.now += 5
    callee.gate.clear()
    probe = spawned(instance)
    callee.until_asked(3)
    assert event(instance).fields["error"].endswith("is half open, and its probes are under way")
    callee.gate.set()
    assert seen(probe)[0].context["request"]["error"]["reason"] == "code"
    assert len(callee.asked) == 3


def test_a_probe_that_is_ended_leaves_its_place(engine: Engine, callee: Callee, clock: Clock) -> None:
    """A request that is ended during its probe neither closes nor blocks the circuit."""
    instance = configured(engine, guarded(callee))
    for _ in range(2):
        event(instance)
    clock.now += 5
    callee.gate.clear()
    [probe] = spawned(instance)
    callee.until_asked(3)
    probe.kill()
    callee.gate.set()
    assert event(instance).context["request"]["error"]["reason"] == "code"
    assert len(callee.asked) == 4


def test_all_instances_share_it(engine: Engine, callee: Callee) -> None:
    """What one plugin instance has learned of a target, the others know, whatever the path."""
    one = configured(engine, guarded(callee), plugin_id="p1")
    other = configured(engine, guarded(callee, url=f"{callee.url}elsewhere?x=1"), plugin_id="p2")
    event(one), event(other)
    for instance in (one, other):
        assert event(instance).context["request"]["error"]["reason"] == "circuit_open"
    assert len(callee.asked) == 2


def test_another_target_has_its_own(engine: Engine, callee: Callee) -> None:
    """A service that fails does not keep anybody from another one."""
    healthy = Callee()
    instance = configured(engine, guarded(callee), {**guarded(healthy), "name": "b"})
    for _ in range(3):
        event(instance)
    assert (len(callee.asked), len(healthy.asked)) == (2, 3)
    healthy.close()


def test_no_connection_is_a_failure(engine: Engine) -> None:
    """A target that can't be reached opens its circuit as well."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        config = {
            "name": "a",
            "request": {"url": url, "error": {"on_error": "continue"}, "circuit_breaker": BREAKER},
        }
        instance = configured(engine, config)
        reasons = [event(instance).context["request"]["error"]["reason"] for _ in range(3)]
    assert reasons == ["error", "error", "circuit_open"]


def test_what_was_never_sent_is_no_failure(engine: Engine, callee: Callee) -> None:
    """A request without any time left tells nothing of its target."""

    def late_headers(*_: object) -> dict[str, str]:
        gevent.sleep(0.002)
        return {}

    slowly = guarded(callee, query={"custom": {"host": "$(headers.host)"}})
    instance = configured(engine, slowly, deadline_ms=1)
    for _ in range(4):
        late = event(instance, kong__request__get_headers=late_headers)
        assert late.fields["attempts"] == 0
        assert late.context["request"]["error"]["reason"] == "error"


def test_a_retry_ends_at_the_circuit_it_opened(engine: Engine, callee: Callee) -> None:
    """No retry is made once the circuit is open: the outcome is the error that opened it."""
    error = {"http_statuses": [503], "retries": 5, "error_response_code": 502}
    instance = configured(engine, guarded(callee, error=error))
    first = event(instance)
    assert first.kong.answer is not None
    assert first.kong.answer[0] == 502
    assert (first.fields["attempts"], first.context["request"]["n_retries"]) == (2, 1)
    assert first.context["request"]["error"]["http_code"] == 503
    second = event(instance)
    assert (second.fields["attempts"], second.context["request"]["n_retries"]) == (0, 0)
    assert second.context["request"]["error"]["reason"] == "circuit_open"
    assert len(callee.asked) == 2


def test_a_change_is_one_line_in_the_log(engine: Engine, callee: Callee, clock: Clock, caplog: Any) -> None:
    """That a circuit opened and that it closed is told once each, without what a URL has of secrets."""
    caplog.set_level("WARNING")
    secret = callee.url.replace("//", "//user:hidden@") + "?key=hidden"
    instance = configured(engine, guarded(callee, url=secret))
    for _ in range(4):
        event(instance)
    callee.reply = lambda number: Reply({})
    clock.now += 5
    for _ in range(2):
        assert event(instance).context["response"]["status"] == 200
    lines = [record.getMessage() for record in caplog.records if "circuit" in record.getMessage()]
    assert [line.partition("is ")[2] for line in lines] == ["open for 5000 ms: status 503", "closed again"]
    assert not any("hidden" in line for line in lines)


def test_all_that_wait_for_one_get_its_refusal(engine: Engine, callee: Callee, clock: Clock) -> None:
    """Requests that wait for an equal one count as one call of the circuit, and share what came of it."""
    instance = configured(engine, guarded(callee, cache={"jitter": 1}))
    callee.gate.clear()
    waiting = spawned(instance, 5)
    callee.until_asked(1)
    callee.gate.set()
    assert {one.context["request"]["error"]["reason"] for one in seen(waiting)} == {"code"}
    event(instance)
    assert event(instance).context["request"]["error"]["reason"] == "circuit_open"
    assert len(callee.asked) == 2


def test_a_stale_response_is_used_while_it_is_open(callee: Callee) -> None:
    """A refresh in the background meets the open circuit as well: the stale response stays in use."""
    clock = Clock()
    engine = engine_with(clock)
    callee.reply = lambda number: Reply({"n": number})
    instance = configured(engine, guarded(callee, cache={"ttl": "1", "stale_while_revalidate": 100}))
    assert event(instance).body == {"n": 1}
    callee.reply = lambda number: Reply({"n": number}, 503)
    clock.now += 2
    for _ in range(5):
        assert (event(instance).state, event(instance).body) == ("stale", {"n": 1})
        until(lambda: not len(engine.background))
    assert len(callee.asked) == 3
    engine.close()


def test_an_error_by_expression_counts(engine: Engine, callee: Callee) -> None:
    """A 200 that error.when calls an error is a failure of its target."""
    callee.reply = lambda number: Reply({"error": "out of order"})
    error = {"when": "$(callouts.a.response.body.error)", "on_error": "continue"}
    instance = configured(engine, guarded(callee, error=error))
    reasons = [event(instance).context["request"]["error"]["reason"] for _ in range(3)]
    assert reasons == ["error", "error", "circuit_open"]
