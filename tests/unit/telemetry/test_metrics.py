"""What is counted of each request, as a scrape tells it; ``tests/failures/test_metrics`` does so with whole servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from request_callout.telemetry import families
from request_callout.telemetry.exposition import Exposition
from request_callout.telemetry.metrics import Metrics
from request_callout.telemetry.shared_values import SharedValues
from tests.unit.engine.gevent_callee import Callee, Clock, Reply, until
from tests.unit.engine.kong_double import KongDouble


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee()
    yield callee
    callee.close()


class Counted:
    """An engine that counts, and what a scrape tells."""

    def __init__(self) -> None:
        self.values = SharedValues()
        self.metrics = Metrics(self.values)
        self.clock = Clock()
        self.engine = Engine(Settings(deadline_ms=5_000), self.clock, observers=[self.metrics])
        self.metrics.follow(self.engine)

    def event(self, config: dict[str, Any], times: int = 1) -> None:
        """Let a configuration handle events."""
        instance = self.engine.instance({"__plugin_id": "p", **config})
        assert instance.problems == ()
        for _ in range(times):
            instance.access(KongDouble())

    def told(self, name: str) -> dict[tuple[str, ...], float]:
        """The values of a family that are not 0, by those of its labels that are neither plugin nor callout."""
        return {
            tuple(value for label, value in sample.labels.items() if label not in ("plugin", "callout")): sample.value
            for family in Exposition([self.values], "1").collect()
            for sample in family.samples
            if sample.name == f"request_callout_{name}" and sample.value
        }


@pytest.fixture
def counted() -> Iterator[Counted]:
    counted = Counted()
    yield counted
    counted.engine.close()


def callout(url: str, **parts: Any) -> dict[str, Any]:
    return {"name": "a", "request": {"url": url, **parts.pop("request", {})}, **parts}


@pytest.mark.parametrize(
    ("upstream", "outcome"),
    [
        ({}, "proxied"),
        ({"by_lua": "kong.response.exit(418)"}, "answered"),
        ({"respond": {"status": 200}}, "answered"),
        ({"by_lua": "error('x')"}, "failed"),
    ],
)
def test_a_request_is_proxied_answered_or_failed(counted: Counted, upstream: dict[str, Any], outcome: str) -> None:
    """What the plugin answers itself is no failure, and what goes on is no answer."""
    counted.event({"callouts": [], "upstream": upstream})
    assert counted.told("events_total") == {(outcome,): 1.0}


def test_times_are_seconds(counted: Counted, callee: Callee) -> None:
    """A request of which nearly all is one attempt takes as long in each histogram, in seconds by this clock."""
    callee.gate.clear()
    opened = gevent.spawn_later(0.05, callee.gate.set)
    before = time.monotonic()
    counted.event({"callouts": [callout(callee.url)]})
    took_s = time.monotonic() - before
    opened.join()
    for family in ("event", "callout", "attempt"):
        assert 0.025 < counted.told(f"{family}_duration_seconds_sum")[()] <= took_s
        assert counted.told(f"{family}_duration_seconds_count") == {(): 1.0}


def test_a_callout_that_is_skipped_takes_no_time(counted: Counted, callee: Callee) -> None:
    """It is counted among the callouts, not in the histogram: it would make the service look quick."""
    counted.event({"callouts": [callout(callee.url, when="$(false)")]})
    assert counted.told("callouts_total") == {("skipped", "none"): 1.0}
    assert counted.told("callout_duration_seconds_count") == {}


def test_elements_are_counted_apart(counted: Counted, callee: Callee) -> None:
    """A callout for each element is one callout; its elements are counted by what became of them."""
    callee.reply = lambda number: Reply({}, status=200 if number == 1 else 500)
    error = {"on_error": "continue", "http_statuses": [500]}
    for_each = {"items": "$({1, 2, 3})", "concurrency": 1}
    counted.event({"callouts": [callout(callee.url, for_each=for_each, request={"error": error})]})
    assert counted.told("callouts_total") == {("tolerated", "none"): 1.0}
    assert counted.told("elements_total") == {("ok",): 1.0, ("tolerated",): 2.0}
    assert counted.told("attempts_total") == {("2xx",): 1.0, ("5xx",): 2.0}
    assert counted.told("callout_duration_seconds_count") == {(): 1.0}


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"callouts": [callout("$(nobody.host)")]}, "callout"),
        ({"callouts": [callout("http://h/", request={"by_lua": "error('x')"})]}, "callout"),
        ({"callouts": [callout("http://h/", when="$(nobody.host)")]}, "callout"),
        ({"callouts": [callout("http://h/$(item.x.y)", for_each={"items": "$({1})"})]}, "callout"),
        ({"callouts": [callout("http://h/", for_each={"items": "$(nobody.items)"})]}, "callout"),
        ({"callouts": [callout("http://h/", when="$(nobody.host)", for_each={"items": "$({1})"})]}, "callout"),
        ({"callouts": [], "upstream": {"by_lua": "error('x')"}}, "upstream"),
        ({"callouts": [], "upstream": {"headers": {"custom": {"X": "$(nobody.host)"}}}}, "upstream"),
    ],
)
def test_each_script_that_fails_is_counted_once(counted: Counted, config: dict[str, Any], place: str) -> None:
    """An expression or a script, wherever it stands, is one error at its place."""
    counted.event(config)
    assert counted.told("script_errors_total") == {(place,): 1.0}


def test_what_is_fetched_anew_is_no_request(counted: Counted, callee: Callee) -> None:
    """A refresh in the background: its attempt and its end are counted, and neither a callout nor an event."""
    config = {
        "callouts": [callout(callee.url, cache={"ttl": "10", "stale_while_revalidate": 20})],
        "cache": {"strategy": "memory"},
    }
    counted.event(config)
    counted.clock.now += 11
    counted.event(config)
    until(lambda: not len(counted.engine.background))
    assert counted.told("refreshes_total") == {("ok",): 1.0}
    assert counted.told("attempts_total") == {("2xx",): 2.0}
    assert counted.told("events_total") == {("proxied",): 2.0}
    assert counted.told("callouts_total") == {("ok", "2xx"): 2.0}
    assert counted.told("cache_lookups_total") == {("miss",): 1.0, ("stale",): 1.0}
    assert counted.told("events_in_flight") == counted.told("attempts_in_flight") == {}


def test_a_circuit_is_in_one_state(counted: Counted, callee: Callee) -> None:
    """A circuit that opens is no closed one any more; its change is counted."""
    callee.reply = lambda number: Reply({}, status=500)
    target = callee.url.removesuffix("/")
    error = {"http_statuses": [500], "on_error": "continue"}
    config = {"callouts": [callout(callee.url, request={"error": error, "circuit_breaker": {"failures": 2}})]}
    counted.event(config)
    assert counted.told("circuits") == {(target, "closed"): 1.0}
    counted.event(config, times=2)
    assert counted.told("circuits") == {(target, "open"): 1.0}
    assert counted.told("circuit_changes_total") == {(target, "open"): 1.0}


def test_a_redis_is_down_until_it_answers(counted: Counted) -> None:
    """Each failure is counted by its kind; down it is from the first of these until it can be used."""
    counted.metrics.redis_failed("r:6379", "command")
    assert counted.told("redis_down") == {}
    for _ in range(2):
        counted.metrics.redis_failed("r:6379", "down")
        assert counted.told("redis_down") == {("r:6379",): 1.0}
    counted.metrics.redis_answers("r:6379")
    assert counted.told("redis_down") == {}
    assert counted.told("redis_failures_total") == {("r:6379", "command"): 1.0, ("r:6379", "down"): 2.0}


def test_what_was_under_way_in_a_worker_that_died_is_lost(counted: Counted, callee: Callee) -> None:
    """Who takes its place counts events and attempts apart, and is at none itself."""
    callee.gate.clear()
    waiting = gevent.spawn(counted.event, {"callouts": [callout(callee.url), {**callout(callee.url), "name": "b"}]})
    callee.until_asked(2)
    Metrics(counted.values)
    assert counted.told("lost_total") == {("event",): 1.0, ("attempt",): 2.0}
    assert counted.told("events_in_flight") == counted.told("attempts_in_flight") == {}
    callee.gate.set()
    waiting.join()


def asked(values: SharedValues, method: str, path: str) -> tuple[str, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    started: list[Any] = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
    body = Exposition([values], "1")(environ, lambda *answer: started.extend(answer))
    return started[0], dict(started[1]), b"".join(body)


def test_a_server_without_workers_is_down() -> None:
    """/healthz is 503 until a worker takes requests."""
    values = SharedValues()
    status, _, body = asked(values, "GET", "/healthz")
    assert (status, body) == ("503 Service Unavailable", b'{"status": "down", "workers": 0}\n')
    values.cells[values.cell(families.WORKERS)] = 1.0
    status, _, body = asked(values, "GET", "/healthz")
    assert (status, body) == ("200 OK", b'{"status": "ok", "workers": 1}\n')


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/else"])
def test_head_has_no_body(path: str) -> None:
    """HEAD is answered as GET but without the body: on a kept connection it would be taken for the next answer."""
    values = SharedValues()
    status, headers, body = asked(values, "GET", path)
    assert headers["Content-Length"] == str(len(body)) != "0"
    assert asked(values, "HEAD", path) == (status, headers, b"")


def test_memory_and_cpu_are_those_of_the_process(counted: Counted) -> None:
    """What the system says of this process, in bytes and seconds."""
    before_s = time.process_time()
    counted.metrics.sweep()
    assert before_s <= counted.told("worker_cpu_seconds_total")[("1",)] <= time.process_time()
    with open("/proc/self/status") as file:
        resident = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmRSS:"))
    assert counted.told("worker_resident_memory_bytes")[("1",)] == pytest.approx(resident, rel=0.2)
