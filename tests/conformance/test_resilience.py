"""Backoff, Retry-After, fallbacks, errors by expression, times for the whole, circuit breakers and hedging."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.callee import PATIENCE_S, Received, Reply, reply_json
from tests.conformance.site import Site, callout

BREAKER = {"failures": 2, "open_ms": 60_000}


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set when slow answers may come."""
    over = threading.Event()
    yield over
    over.set()


def test_backoff_keeps_retries(site: Site) -> None:
    """error.backoff changes when retries are made, not how many."""
    site.callee.on("/a", Reply(503))
    backoff = {"initial_ms": 20, "max_ms": 50, "factor": 3}
    site.configure([callout("a", "/a", error={"http_statuses": [503], "retries": 3, "backoff": backoff})])
    assert site.get().status == 400
    assert len(site.callee.received()) == 4


def test_retry_after(site: Site) -> None:
    """error.retry_after makes the pause that the response asks for."""
    site.callee.on("/a", Reply(503, headers=(("Retry-After", "1"),)), reply_json({}))
    site.configure([callout("a", "/a", error={"http_statuses": [503], "retries": 1, "retry_after": True})])
    assert site.get().status == 200
    first, second = site.callee.received()
    assert second.at_s - first.at_s >= 0.99


def test_retry_after_is_bounded_by_the_backoff(site: Site) -> None:
    """What a response asks for is bounded by the backoff's max_ms."""
    site.callee.on("/a", Reply(503, headers=(("Retry-After", "3600"),)), reply_json({}))
    error = {"http_statuses": [503], "retries": 1, "retry_after": True, "backoff": {"max_ms": 100}}
    site.configure([callout("a", "/a", error=error)])
    assert site.get().status == 200
    assert len(site.callee.received()) == 2


@pytest.mark.parametrize(("method", "times"), [("GET", 3), ("POST", 1)])
def test_retry_methods(site: Site, method: str, times: int) -> None:
    """With error.retry_methods only callouts of these methods are tried again."""
    site.callee.on("/a", Reply(503))
    error = {"http_statuses": [503], "retries": 2, "retry_methods": ["get", "HEAD"]}
    site.configure([callout("a", "/a", method=method, error=error)])
    assert site.get().status == 400
    assert len(site.callee.received()) == times


def test_fallback(site: Site) -> None:
    """error.fallback stands for the response of a callout that failed: status, headers and the decoded body."""
    site.callee.on("/a", Reply(503))
    fallback = {"status": 203, "headers": {"X-Plan": "$(headers.x_plan)"}, "body": '{"limit": 10}'}
    error = {"http_statuses": [503], "on_error": "continue", "fallback": fallback}
    custom = {"X-Limit": "$(callouts.a.response.body.limit)", "X-Plan": "$(callouts.a.response.headers['x-plan'])"}
    site.configure([callout("a", "/a", decode=True, error=error)], upstream={"headers": {"custom": custom}})
    assert site.get(headers={"X-Plan": "free"}).status == 200
    got = site.upstream.one()
    assert (got.header("X-Limit"), got.header("X-Plan")) == ("10", "free")


def test_fallback_in_the_context(site: Site) -> None:
    """The context has the fallback, a mark for it, and the error that it stands for."""
    site.callee.on("/a", Reply(drop=True))
    error = {"on_error": "continue", "fallback": {"status": 204}}
    site.configure([callout("a", "/a", error=error)], witness=True)
    own = site.context()["a"]
    assert own["fallback"] is True
    assert own["response"]["status"] == 204
    assert own["request"]["error"]["reason"] == "error"


def test_fallback_status_defaults_to_200(site: Site) -> None:
    """A fallback without a status has 200."""
    site.callee.on("/a", Reply(drop=True))
    error = {"on_error": "continue", "fallback": {"body": "nothing"}}
    site.configure([callout("a", "/a", error=error)], witness=True)
    assert site.context()["a"]["response"]["status"] == 200


def test_error_when(site: Site) -> None:
    """error.when calls a response an error by an expression that sees it, decoded; it is tried again."""
    site.callee.on("/a", reply_json({"error": "busy"}), reply_json({"id": 1}))
    error = {"when": "$(callouts.a.response.body.error ~= nil)", "retries": 1}
    site.configure([callout("a", "/a", decode=True, error=error)], witness=True)
    own = site.context()["a"]
    assert own["response"]["body"] == {"id": 1}
    assert own["request"]["retries"] == [{"reason": "error", "err": "error.when", "http_code": 200}]


def test_error_when_and_the_policy(site: Site) -> None:
    """What error.when calls an error fails as any other."""
    site.callee.on("/a", reply_json({"error": "busy"}))
    error = {"when": "$(callouts.a.response.body.error)", "error_response_code": 502, "error_response_msg": "busy"}
    site.configure([callout("a", "/a", decode=True, error=error)])
    answer = site.get()
    assert (answer.status, answer.text) == (502, "busy")


def test_total(site: Site, over: threading.Event) -> None:
    """timeouts.total bounds a callout with its retries, and may stand alone."""
    site.callee.on("/a", Reply(hold=lambda: over.wait(PATIENCE_S)))
    request: dict[str, Any] = {"http_opts": {"timeouts": {"total": 300}}, "error": {"retries": 5}}
    site.configure([callout("a", "/a", **request)])
    started = time.monotonic()
    assert site.get().status == 400
    assert 0.25 < time.monotonic() - started < PATIENCE_S / 2


def test_deadline(site: Site, over: threading.Event) -> None:
    """deadline_ms bounds all callouts of a request."""
    for path in ("/a", "/b"):
        site.callee.on(path, Reply(hold=lambda: over.wait(PATIENCE_S)))
    callouts = [callout(name, f"/{name}", error={"on_error": "continue"}) for name in "ab"]
    plugin = site.plugin(callouts, deadline_ms=300)
    site.load(site.declaration([plugin]))
    started = time.monotonic()
    assert site.get().status == 200
    assert 0.25 < time.monotonic() - started < PATIENCE_S / 2


@pytest.mark.parametrize("deadline_ms", [0, 55_001, -1])
def test_deadline_within_kongs_patience(site: Site, deadline_ms: int) -> None:
    """A deadline beyond 55 seconds is refused: Kong would not wait for it."""
    site.refused([callout("a", "/a")], deadline_ms=deadline_ms)  # type: ignore[arg-type]


def test_circuit_breaker(site: Site) -> None:
    """After enough failures the callee is left alone, and the error says why."""
    site.callee.on("/a", Reply(503))
    request: dict[str, Any] = {
        "error": {"http_statuses": [503], "on_error": "continue"},
        "circuit_breaker": BREAKER,
    }
    site.configure([callout("a", "/a", **request)], witness=True)
    reasons: list[str] = []
    until = time.monotonic() + PATIENCE_S
    while "circuit_open" not in reasons:  # each worker process has its own circuits
        reasons.append(site.context()["a"]["request"]["error"]["reason"])
        assert time.monotonic() < until
    assert set(reasons) == {"code", "circuit_open"}
    assert len(site.callee.received()) == reasons.count("code")


def test_circuit_breaker_closes(site: Site) -> None:
    """After open_ms a callout is let through again, and its success closes the circuit."""
    site.callee.on("/a", Reply(503), Reply(503), reply_json({"id": 1}))
    breaker = {"failure_rate": 50, "min_requests": 2, "window_ms": 60_000, "open_ms": 200, "half_open_probes": 1}
    site.configure([callout("a", "/a", error={"http_statuses": [503]}, circuit_breaker=breaker)])
    assert site.get().status == 400
    until = time.monotonic() + PATIENCE_S
    while site.get().status != 200:
        assert time.monotonic() < until
    assert [site.get().status for _ in range(3)] == [200] * 3


def test_circuit_breaker_needs_a_threshold(site: Site) -> None:
    """A circuit breaker that could never open is refused."""
    site.refused([callout("a", "/a", circuit_breaker={"open_ms": 1000})])


def test_hedging(site: Site, over: threading.Event) -> None:
    """When the first attempt is slow a second one is sent, and the first answer is taken."""

    def slow(_request: Received) -> Reply:
        return reply_json({"n": 1}, hold=lambda: over.wait(PATIENCE_S))

    site.callee.on("/a", slow, reply_json({"n": 2}))
    site.configure([callout("a", "/a", decode=True, hedge_after_ms=50)], witness=True)
    started = time.monotonic()
    own = site.context()["a"]
    assert time.monotonic() - started < PATIENCE_S / 2
    assert own["response"]["body"] == {"n": 2}
    assert own["request"]["n_retries"] == 0
    assert len(site.callee.received()) == 2


def test_hedging_leaves_quick_answers_alone(site: Site) -> None:
    """An answer in time is asked for once."""
    site.configure([callout("a", "/a", hedge_after_ms=30_000)])
    assert site.get().status == 200
    assert site.callee.one()
