"""What an outage of Redis costs: hits and the time of requests before, during and after it.

The servers are those of the tests (``tests/servers``).
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from bench import cases
from bench.load import Driver, Event
from bench.processes import plugin_server, service
from bench.report import Part
from tests.servers.redis_cluster import Cluster, cluster
from tests.servers.redis_sentinels import MASTER_NAME, Sentinels, sentinels
from tests.servers.redis_server import HOST, RedisServer, running

TIMEOUT_MS = 200
_PHASE_S = 2.0
_STEP_S = 0.1
_LONGEST_S = 60.0
_KEYS = 9
_STEPS = 3
"""In so many steps that follow each other there must be hits before an outage counts as over."""

Outage = Callable[[Any], None]


def measure(_rounds: int) -> Part:
    """One round of each; every phase has thousands of requests."""
    part = Part(f"i. Outages of Redis: 16 connections, two workers, timeouts of {TIMEOUT_MS} ms")
    single = (running, lambda server: {"host": HOST, "port": server.port})
    watched = (sentinels, _by_sentinels)
    clustered = (cluster, lambda group: {"cluster_nodes": [{"ip": HOST, "port": one.port} for one in group.nodes]})
    _measure(part, "kill -9 and restart", *single, RedisServer.kill, RedisServer.start)
    _measure(part, "STOP and CONT", *single, RedisServer.freeze, RedisServer.thaw)
    _measure(part, "kill -9 of the master, failover", *watched, lambda group: group.servers[0].kill(), None)
    _measure(part, "ordered failover", *watched, None, lambda group: group.fail_over())
    _measure(part, "slots move", *clustered, None, _move)
    _measure(
        part,
        "one of three masters killed",
        *clustered,
        lambda group: group.nodes[0].kill(),
        lambda group: group.nodes[0].start(),
    )
    part.note = (
        "Three requests of four are for one of nine keys. During: from the outage's begin until there are hits again; "
        "it lasts at least two seconds, unless it is over by itself. over timeout: p99 less the timeout."
    )
    return part


def _by_sentinels(group: Sentinels) -> dict[str, Any]:
    nodes = [{"host": HOST, "port": sentinel.port} for sentinel in group.sentinels]
    return {"sentinel_nodes": nodes, "sentinel_master": MASTER_NAME, "sentinel_role": "master"}


def _move(group: Cluster) -> None:
    """All slots that are in use on the first master go to the second one and back."""
    first, second, _ = group.nodes
    names = first.command("SCAN", 0, "MATCH", "request-callout:*", "COUNT", 10_000)[1]
    slots = {group.slot_of(name) for name in names}
    for target in (second, first):
        for slot in slots:
            group.move(slot, target)


def _measure(
    part: Part,
    name: str,
    servers: Callable[[], AbstractContextManager[Any]],
    place: Callable[[Any], Mapping[str, Any]],
    begin: Outage | None,
    end: Outage | None,
) -> None:
    limits = dict.fromkeys(("connect_timeout", "send_timeout", "read_timeout"), TIMEOUT_MS)
    with servers() as redis, service() as called, plugin_server("--workers", "2", quiet=True) as ours:
        where = {**place(redis), **limits}
        hot = [cases.cached_in(where, called.address, number) for number in range(_KEYS)]
        never = cases.cached_in(where, called.address, _KEYS, ttl="0.001")
        driver = Driver(ours, [*hot, never, never, never], 16, cases.RESULTS)
        with _load(driver, called.address) as load:
            load.wait_for_hits()
            first = load.now()
            time.sleep(_PHASE_S)
            gone = load.now()
            if begin is not None:
                begin(redis)
                time.sleep(_PHASE_S)
            if end is not None:
                end(redis)
            back = load.now()
            load.wait_for_hits()
            over = load.now()
            time.sleep(_PHASE_S)
            last = load.now()
        driver.close()
    print(f"{name}: hits {over.at_s - back.at_s:.1f} s after its end", flush=True)
    for phase, since, until in (("before", first, gone), ("during", gone, over), ("after", over, last)):
        part.add(f"{name}: {phase}", **load.figures(since, until))


class _Moment:
    def __init__(self, events: int, calls: int) -> None:
        self.at_s = time.perf_counter()
        self.events = events
        self.calls = calls


class _Load:
    """Events that go on in a thread of their own."""

    def __init__(self, driver: Driver, url: str) -> None:
        self._driver = driver
        self._url = url
        self._events: list[Event] = []
        self._asked = 0
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Let what was begun come to its end; raises RuntimeError if the server gave up."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def now(self) -> _Moment:
        """How many events have ended, and how many callouts were made for them."""
        with urllib.request.urlopen(f"{self._url}/calls") as answer:
            calls = int(answer.read())
        self._asked += 1
        return _Moment(len(self._events), calls - self._asked)

    def wait_for_hits(self) -> None:
        """Until about as many events are hits as can be."""
        deadline = time.monotonic() + _LONGEST_S
        hits, before = 0, self.now()
        while hits < _STEPS:
            if time.monotonic() > deadline or self._failure is not None:
                raise self._failure or RuntimeError(f"no hits within {_LONGEST_S} s")
            time.sleep(_STEP_S)
            now = self.now()
            hits = hits + 1 if _hits(before, now) > 0.6 else 0
            before = now

    def figures(self, since: _Moment, until: _Moment) -> dict[str, float]:
        """Of the events that began in this time."""
        times_ms = [event.took_s * 1000 for event in self._events if since.at_s <= event.began_s < until.at_s]
        p99_ms = statistics.quantiles(times_ms, n=100, method="inclusive")[98]
        return {
            "requests": len(times_ms),
            "hits_percent": 100 * max(0.0, _hits(since, until)),
            "p50_ms": statistics.median(times_ms),
            "p99_ms": p99_ms,
            "max_ms": max(times_ms),
            "over_timeout_ms": p99_ms - TIMEOUT_MS,
        }

    def _run(self) -> None:
        going = itertools.takewhile(lambda _: not self._stop.is_set(), itertools.count())
        try:
            for event in self._driver.events(going):
                self._events.append(event)
        except Exception as error:
            self._failure = error


def _hits(since: _Moment, until: _Moment) -> float:
    events = until.events - since.events
    return 1 - (until.calls - since.calls) / events if events else 0.0


@contextmanager
def _load(driver: Driver, url: str) -> Iterator[_Load]:
    load = _Load(driver, url)
    try:
        yield load
    finally:
        load.stop()
