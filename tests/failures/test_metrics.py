"""Metrics of a real server: they tell what the called service has seen."""

from __future__ import annotations

import os
import re
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from request_callout.telemetry.families import FAMILIES
from tests.conformance.callee import PATIENCE_S, Callee, Reply
from tests.failures.scrape import OPEN_METRICS, Scrape, address_in, get, scraped
from tests.failures.stage import CLIENTS, PluginServer
from tests.servers.redis_server import HOST, running
from tests.unit.server.kong_side import Closed, KongSide
from tests.unit.server.processes import connect

EVENTS = 400
BROKEN = (Closed, OSError)


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee(Reply(body=b"{}"))
    yield callee
    callee.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PluginServer]:
    server = PluginServer(tmp_path, "protobuf", ["--workers", "2", "--metrics", "127.0.0.1:0"])
    yield server
    server.close()


@pytest.fixture
def address(server: PluginServer) -> str:
    return address_in(server.log)


def configurations(callee: Callee) -> list[Mapping[str, Any]]:
    """Callouts that succeed, fail for ever, fail once in a while, are cached, and hedged."""
    turns = [Reply(503), Reply(200)]
    callee.on("/flaky", *(turns * EVENTS))
    callee.on("/down", Reply(500))

    def config(name: str, path: str, cache: Mapping[str, Any] | None = None, **request: Any) -> Mapping[str, Any]:
        callout = {"name": name, "request": {"url": callee.url + path, **request}}
        return {"__plugin_id": f"plugin-{name}", "callouts": [callout], **({"cache": cache} if cache else {})}

    retried = {"on_error": "retry", "retries": 2, "http_statuses": [500, 503]}
    return [
        config("fine", "/fine"),
        config("down", "/down", error=retried),
        config("flaky", "/flaky", error=retried),
        config("cached", "/cached", cache={"strategy": "memory"}),
        config("gone", "/x?token=hush", error={"on_error": "continue", "http_statuses": [200]}),
    ]


def events(server: PluginServer, configs: list[Mapping[str, Any]], count: int) -> int:
    """Make so many events, over as many connections as Kong would have; a broken one is repeated, as by Kong.

    Gives how many were answered by the plugin.
    """
    numbers = iter(range(count))
    answered = []

    def run() -> None:
        kong: KongSide | None = None
        for number in numbers:
            while True:
                try:
                    kong = kong or connect(server.path)
                    calls = kong.event(kong.start(configs[number % len(configs)]))
                except BROKEN:
                    kong = None
                    continue
                if any(name == "kong.response.exit" for name, _ in calls):
                    answered.append(number)
                    kong = None
                break

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(answered)


def test_counts_are_what_the_callee_has_seen(server: PluginServer, address: str, callee: Callee) -> None:
    """Under load on two workers, attempts are the requests that the callee got, event by event and retry by retry."""
    configs = configurations(callee)
    failed = events(server, configs, EVENTS)
    found = scraped(address, lambda one: one.sum("events_total") == EVENTS, "all events are counted")
    each = EVENTS / len(configs)
    assert found.sum("attempts_total") == len(callee.received())
    paths = {"fine": "/fine", "down": "/down", "flaky": "/flaky", "cached": "/cached", "gone": "/x"}
    for name, path in paths.items():
        assert found.sum("attempts_total", callout=name) == len(callee.received(path)), name
        assert found.sum("callouts_total", callout=name, plugin=f"plugin-{name}") == each
        assert found.sum("callout_duration_seconds_count", callout=name) == each
        assert found.sum("attempt_duration_seconds_count", callout=name) == len(callee.received(path))
    assert found.sum("attempts_total", callout="down", outcome="5xx") == 3 * each
    assert found.sum("retries_total", callout="down") == 2 * each
    assert found.sum("callouts_total", callout="down", result="failed", status="5xx") == each
    assert found.sum("callouts_total", callout="gone", result="tolerated") == each
    assert found.sum("retries_total", callout="flaky") == len(callee.received("/flaky")) - each
    assert sum(found.by("cache_lookups_total", "outcome").values()) == each
    misses = found.sum("cache_lookups_total", outcome="miss")
    assert misses == len(callee.received("/cached"))
    assert found.by("events_total", "outcome") == {"proxied": EVENTS - failed, "failed": failed}
    assert found.sum("events_in_flight") == found.sum("attempts_in_flight") == 0
    assert found.sum("configurations") == len(configs)


def test_a_killed_worker_takes_no_counts_with_it(server: PluginServer, address: str, callee: Callee) -> None:
    """What a worker had counted stays when it is killed; what was under way in it is told as lost."""
    configs = configurations(callee)
    events(server, configs[:1], 100)
    over = threading.Event()
    callee.on("/slow", Reply(hold=lambda: over.wait(PATIENCE_S)), Reply(hold=lambda: over.wait(PATIENCE_S)), Reply())
    slow = {"__plugin_id": "slow", "callouts": [{"name": "slow", "request": {"url": f"{callee.url}/slow"}}]}
    waiting = [connect(server.path) for _ in range(2)]
    for kong in waiting:
        kong.begin_event(kong.start(slow))
    assert callee.arrived("/slow", 2)
    scraped(address, lambda one: one.sum("attempts_in_flight") == 2, "two attempts are under way")
    before = server.workers()[:2]
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    over.set()
    scraped(address, lambda one: one.sum("worker_restarts_total") == 2 and one.sum("workers") == 2, "two new workers")
    events(server, configs[:1], 100)
    found = scraped(address, lambda one: one.sum("events_total") == 200, "all events are counted")
    assert found.sum("lost_total", what="attempt") == found.sum("lost_total", what="event") == 2
    assert found.sum("attempts_total") + found.sum("lost_total", what="attempt") == len(callee.received())
    assert found.sum("attempts_in_flight") == 0


def test_counters_only_grow_while_requests_run(server: PluginServer, address: str, callee: Callee) -> None:
    """Scrapes under load are whole: no count is ever smaller than in the scrape before."""
    enough = threading.Event()
    configs = configurations(callee)

    def load() -> None:
        while not enough.is_set():
            events(server, configs, 50)

    running = threading.Thread(target=load)
    running.start()
    try:
        scrapes = [Scrape(address) for _ in range(10)]
    finally:
        enough.set()
        running.join()
    for earlier, later in pairwise(scrapes):
        counts = {(one.name, *sorted(one.labels.items())): one.value for one in earlier.samples}
        for sample in later.samples:
            if sample.name.endswith(("_total", "_bucket", "_count", "_sum")):
                assert sample.value >= counts.get((sample.name, *sorted(sample.labels.items())), 0.0)


@pytest.mark.parametrize("accept", ["text/plain", OPEN_METRICS])
def test_names_and_units_are_those_of_prometheus(
    server: PluginServer, address: str, callee: Callee, accept: str
) -> None:
    """Every family has a help text and a type; counters end in _total, times are seconds, sizes bytes; no doubles."""
    events(server, configurations(callee), 20)
    found = Scrape(address, accept)
    names = {name.removesuffix("_total") if "openmetrics" in accept else name for name in FAMILIES}
    assert {name if "openmetrics" in accept else FAMILIES_BY_SHORT[name] for name in found.families} == names
    for family in found.families.values():
        assert re.fullmatch(r"request_callout_[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        assert not re.search(r"_(ms|milliseconds|kb|mb|count|sum)$", family.name)
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
    keys = [(sample.name, *sorted(sample.labels.items())) for sample in found.samples]
    assert len(keys) == len(set(keys))


FAMILIES_BY_SHORT = {name.removesuffix("_total"): name for name in FAMILIES}


def test_a_configuration_that_cant_be_used_is_counted(server: PluginServer, address: str) -> None:
    """Requests that get 500 for it are events of the outcome ``misconfigured``."""
    kong = connect(server.path)
    kong.event(kong.start({"__plugin_id": "bad", "callouts": [{"name": "a"}]}))
    scraped(address, lambda one: one.sum("events_total", plugin="bad", outcome="misconfigured") == 1, "it is counted")


def test_health_tells_whether_there_are_workers(server: PluginServer, address: str) -> None:
    """/healthz is 200 while a worker takes requests; what is not there is 404, and nothing can be written."""
    assert get(address, "/healthz").status == 200
    assert get(address, "/else").status == 404
    assert get(address, method="POST").status == 405
    for worker in server.workers()[:2]:
        os.kill(worker, signal.SIGKILL)
    scraped(address, lambda one: one.sum("worker_restarts_total") == 2 and one.sum("workers") == 2, "two new workers")
    assert get(address, "/healthz").status == 200


def test_memory_and_cpu_of_each_worker_are_told(address: str) -> None:
    """Each worker's memory and CPU time are there, by its place."""
    found = scraped(address, lambda one: len(one.by("worker_resident_memory_bytes", "worker")) == 2, "both are told")
    assert all(size > 1 << 20 for size in found.by("worker_resident_memory_bytes", "worker").values())
    assert set(found.by("worker_cpu_seconds_total", "worker")) == {"1", "2"}


def test_msgpack_is_counted_too(tmp_path: Path) -> None:
    """On MsgPack, in its one worker, there are metrics on a unix socket."""
    path = tmp_path / "metrics.sock"
    server = PluginServer(tmp_path, "msgpack", ["--metrics", f"unix:{path}"])
    try:
        found = Scrape(f"unix:{path}")
        assert found.sum("workers") == found.sum("workers_wanted") == 1
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        server.close()


def test_tokens_are_counted_as_their_server_has_seen_them(server: PluginServer, address: str, callee: Callee) -> None:
    """Every request for a token is counted once, by what came of it, over all workers."""
    grant = b'{"access_token": "%s", "token_type": "Bearer", "expires_in": 3600}' % secrets.token_hex(8).encode()
    callee.on("/token", Reply(200, grant))
    callee.on("/no-token", Reply(401, b'{"error": "invalid_client"}'))

    def config(path: str) -> Mapping[str, Any]:
        auth = {"type": "oauth2_client_credentials", "client_id": "a", "client_secret": secrets.token_hex(8)}
        request = {"url": f"{callee.url}/x", "auth": {**auth, "token_url": callee.url + path}}
        return {"__plugin_id": path, "callouts": [{"name": "a", "request": request}]}

    events(server, [config("/token"), config("/no-token")], EVENTS // 2)
    found = scraped(address, lambda one: one.sum("events_total") == EVENTS // 2, "all events are counted")
    target = callee.url.removeprefix("http://")
    assert 1 <= found.sum("token_requests_total", outcome="ok", target=target) == len(callee.received("/token"))
    assert 1 <= found.sum("token_requests_total", outcome="failed") == len(callee.received("/no-token"))


def test_failures_of_redis_are_counted_as_it_has_seen_them(tmp_path: Path, callee: Callee) -> None:
    """A Redis that takes reads but no writes: each refused write is one failure, and it is not down."""
    with running() as redis:
        server = PluginServer(tmp_path, "protobuf", ["--metrics", "127.0.0.1:0"])
        try:
            settings = {"strategy": "redis", "redis": {"host": HOST, "port": redis.port}}
            config = {
                "__plugin_id": "p",
                "callouts": [{"name": "a", "request": {"url": f"{callee.url}/$(query_params.n)"}}],
                "cache": settings,
            }
            kong = connect(server.path)
            instance = kong.start(config)
            for number in range(4):
                kong.event(instance, {"kong.request.get_raw_query": f"n={number}"})
            address = address_in(server.log)
            assert (
                scraped(address, lambda one: one.sum("events_total") == 4, "they are counted").sum(
                    "redis_failures_total"
                )
                == 0
            )
            redis.command("CONFIG", "RESETSTAT")
            redis.command("CONFIG", "SET", "maxmemory", "1")
            for number in range(4, 10):
                kong.event(instance, {"kong.request.get_raw_query": f"n={number}"})
            kong.sock.close()
            found = scraped(address, lambda one: one.sum("events_total") == 10, "they are counted")
            refused = re.search(r"errorstat_OOM:count=(\d+)", redis.command("INFO", "errorstats"))
            assert refused is not None
            assert found.by("redis_failures_total", "kind") == {"writes": int(refused[1])}
            assert found.sum("redis_down") == 0
        finally:
            server.close()
