"""Equal misses in several processes that share a store: here several engines on one store with real leases."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from request_callout.cache.store import NOT_DECODED, CachedResponse, Lease
from request_callout.engine import Engine, Instance, caching
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


class SharedStore:
    """A store outside of the processes: each command lets others go on, bodies come back as bytes, leases end."""

    shared = True

    def __init__(self) -> None:
        self.entries: dict[str, CachedResponse] = {}
        self.ttls_s: dict[str, float] = {}
        self.leases: dict[str, tuple[object, float]] = {}
        self.refused = 0
        self.lease_times_s: list[float] = []

    def get(self, key: str) -> CachedResponse | None:
        gevent.sleep(0)
        return self.entries.get(key)

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        gevent.sleep(0)
        self.entries[key] = dataclasses.replace(response, body=NOT_DECODED)
        self.ttls_s[key] = ttl_s

    def lease(self, key: str, lease_s: float) -> Lease | None:
        gevent.sleep(0)
        self.lease_times_s.append(lease_s)
        held = self.leases.get(key)
        if held is not None and held[1] > time.monotonic():
            self.refused += 1
            return None
        lease = _Lease(self, key)
        self.leases[key] = (lease, time.monotonic() + lease_s)
        return lease


class _Lease:
    def __init__(self, store: SharedStore, key: str) -> None:
        self._store, self._key = store, key

    def release(self) -> None:
        if self._store.leases.get(self._key, (None,))[0] is self:
            del self._store.leases[self._key]


class AnyLease(dict[str, tuple[object, float]]):
    """As if another process held every lease, for good."""

    def get(self, key: str, default: Any = None) -> Any:
        return (None, float("inf"))


@pytest.fixture
def store() -> SharedStore:
    return SharedStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engines(clock: Clock) -> Iterator[list[Engine]]:
    engines = [engine_with(clock) for _ in range(3)]
    yield engines
    for engine in engines:
        assert len(engine.flights) == 0
        engine.close()


@pytest.fixture
def callee(store: SharedStore) -> Iterator[Callee]:
    callee = Callee()
    yield callee
    callee.close()
    assert isinstance(store.leases, AnyLease) or store.leases == {}


def on(store: SharedStore, engine: Engine, config: dict[str, Any]) -> Instance:
    instance = configured(engine, config)
    instance.store = store
    return instance


def test_many_misses_in_several_processes_make_one_callout(
    engines: list[Engine], store: SharedStore, callee: Callee
) -> None:
    """Equal requests at once to several processes ask the callee once; then all have its answer."""
    callee.gate.clear()
    instances = [on(store, engine, callout(callee)) for engine in engines]
    greenlets = [greenlet for instance in instances for greenlet in spawned(instance, 100)]
    until(lambda: store.refused >= 4)
    callee.gate.set()
    got = seen(greenlets)
    assert len(callee.asked) == 1
    assert [one.body for one in got] == [{"n": 1}] * 300
    assert sorted(str(one.state) for one in got) == ["coalesced"] * 299 + ["miss"]
    assert [event(instance).state for instance in instances] == ["hit"] * 3


def test_what_was_stored_since_the_look_up_is_used(engines: list[Engine], store: SharedStore, callee: Callee) -> None:
    """Who gets the lease looks again: another process may have stored it just now."""
    first, second = (on(store, engine, callout(callee)) for engine in engines[:2])
    missed = store.get

    def store_meanwhile(key: str) -> CachedResponse | None:
        store.get = missed  # type: ignore[method-assign]
        found = missed(key)
        assert event(first).state == "miss"
        return found

    store.get = store_meanwhile  # type: ignore[method-assign]
    got = event(second)
    assert (got.state, got.body, len(callee.asked)) == ("hit", {"n": 1}, 1)


def test_a_failing_callout_lets_the_others_try(engines: list[Engine], store: SharedStore, callee: Callee) -> None:
    """An error is not stored: each process finds that out for itself, one after the other."""
    callee.reply = lambda number: Reply({"n": number}, 500)
    policy = {"http_statuses": [500]}
    instances = [on(store, engine, callout(callee, error=policy)) for engine in engines]
    greenlets = [greenlet for instance in instances for greenlet in spawned(instance, 5)]
    got = seen(greenlets)
    assert len(callee.asked) == 3
    assert [one.kong.answer[0] for one in got if one.kong.answer] == [400] * 15


def test_a_kept_error_of_another_process_is_an_error(engines: list[Engine], store: SharedStore, callee: Callee) -> None:
    """With negative_ttl the error that another process stored is the outcome of those that waited for it."""
    callee.reply = lambda number: Reply({"n": number}, 500)
    callee.gate.clear()
    config = callout(callee, error={"http_statuses": [500]}, cache={"negative_ttl": 5})
    greenlets = [g for engine in engines for g in spawned(on(store, engine, config), 5)]
    until(lambda: store.refused >= 4)
    callee.gate.set()
    got = seen(greenlets)
    assert len(callee.asked) == 1
    assert [one.kong.answer[0] for one in got if one.kong.answer] == [400] * 15


def test_a_killed_leader_gives_its_lease_back(engines: list[Engine], store: SharedStore, callee: Callee) -> None:
    """When the request that fetches is ended, another process may fetch at once."""
    callee.gate.clear()
    instances = [on(store, engine, callout(callee)) for engine in engines[:2]]
    [leader] = spawned(instances[0])
    callee.until_asked(1)
    [other] = spawned(instances[1])
    until(lambda: store.refused >= 1)
    leader.kill()
    callee.until_asked(2)
    callee.gate.set()
    assert seen([other])[0].state == "miss"


def test_a_killed_request_that_waits_for_a_lease_leaves_nothing(
    engines: list[Engine], store: SharedStore, callee: Callee
) -> None:
    """A request that is ended while another process fetches hands its turn to the next one of its own process."""
    callee.gate.clear()
    instances = [on(store, engine, callout(callee)) for engine in engines[:2]]
    [leader] = spawned(instances[0])
    callee.until_asked(1)
    waiting, follower = spawned(instances[1], 2)
    until(lambda: store.refused >= 1)
    waiting.kill()
    callee.gate.set()
    assert [one.state for one in seen([leader, follower])] == ["miss", "coalesced"]
    assert len(callee.asked) == 1


def test_waiting_for_another_process_is_bounded(engines: list[Engine], store: SharedStore, callee: Callee) -> None:
    """A process that holds a lease and does nothing costs others no more than the callout's own timeouts."""
    store.leases = AnyLease()
    timeouts = {"connect": 20, "write": 20, "read": 60}
    instance = on(store, engines[0], callout(callee, http_opts={"timeouts": timeouts}))
    started = time.monotonic()
    got = event(instance)
    assert 0.1 <= time.monotonic() - started < 5
    assert (got.state, got.body) == ("miss", {"n": 1})
    assert store.refused > 1


def test_waiting_ends_at_the_deadline(store: SharedStore, callee: Callee) -> None:
    """Who waits for another process does so within its own deadline."""
    store.leases = AnyLease()
    engine = engine_with(deadline_ms=100)
    got = event(on(store, engine, callout(callee)))
    assert "deadline of 100 ms" in got.fields["error"]
    engine.close()


@pytest.mark.parametrize(
    ("timeouts", "error", "lease_s"),
    [
        ({"connect": 100, "write": 100, "read": 100}, {}, caching.SHORTEST_LEASE_S),
        ({"connect": 1000, "write": 1000, "read": 1000}, {}, 3),
        ({"connect": 1000, "write": 1000, "read": 1000}, {"retries": 1}, 6),
        ({"connect": 1000, "write": 1000, "read": 1000}, {"retries": 9}, caching.LONGEST_LEASE_S),
        (None, {}, caching.LONGEST_LEASE_S),
    ],
)
def test_a_lease_is_as_long_as_the_callout_may_take(
    engines: list[Engine],
    store: SharedStore,
    callee: Callee,
    timeouts: dict[str, int] | None,
    error: dict[str, Any],
    lease_s: float,
) -> None:
    """A lease covers all attempts with their timeouts, within bounds: a process that dies can't hold it for long."""
    options = {"http_opts": {"timeouts": timeouts}} if timeouts else {}
    event(on(store, engines[0], callout(callee, error=error, **options)))
    assert store.lease_times_s == [lease_s]


def test_one_process_refreshes(engines: list[Engine], store: SharedStore, callee: Callee, clock: Clock) -> None:
    """What is stale in a shared store is fetched anew by one process, once."""
    config = callout(callee, cache={"ttl": "10", "stale_while_revalidate": 20})
    instances = [on(store, engine, config) for engine in engines]
    assert event(instances[0]).state == "miss"
    assert list(store.ttls_s.values()) == [30]
    clock.now += 10
    callee.gate.clear()
    assert [event(instance).state for instance in instances for _ in range(3)] == ["stale"] * 9
    callee.until_asked(2)
    until(lambda: sum(len(engine.background) for engine in engines) == 1)
    callee.gate.set()
    until(lambda: not any(len(engine.background) for engine in engines))
    assert [event(instance).body for instance in instances] == [{"n": 2}] * 3
    assert len(callee.asked) == 2


def test_a_refresh_looks_again(engines: list[Engine], store: SharedStore, callee: Callee, clock: Clock) -> None:
    """A refresh that comes after another process's asks nobody."""
    config = callout(callee, cache={"ttl": "10", "stale_while_revalidate": 20})
    first, second = (on(store, engine, config) for engine in engines[:2])
    event(first)
    clock.now += 10
    missed = store.lease

    def refresh_before(key: str, lease_s: float) -> Lease | None:
        store.lease = missed  # type: ignore[method-assign]
        event(first)
        until(lambda: not len(engines[0].background))
        return missed(key, lease_s)

    store.lease = refresh_before  # type: ignore[method-assign]
    assert event(second).state == "stale"
    until(lambda: not len(engines[1].background))
    assert len(callee.asked) == 2


def test_whatever_ends_requests_nothing_stays_open(engines: list[Engine], store: SharedStore) -> None:
    """Requests killed at any moment, answers and errors at random: all come to an end, no flight or lease is left."""
    chance = random.Random(4)
    callee = Callee(lambda number: Reply({"n": number}, chance.choice([200, 500])))
    cache = {"ttl": "0.001", "stale_while_revalidate": 0.002, "stale_if_error": 0.002}
    for engine in engines:
        engine.clock = time.time
    config = callout(callee, cache=cache, error={"http_statuses": [500]}, query={"forward": True})
    instances = [on(store, engine, config) for engine in engines]
    running: list[gevent.Greenlet[..., Any]] = []
    for _ in range(1500):
        query = f"k={chance.randrange(3)}"
        running.append(gevent.spawn(event, chance.choice(instances), kong__request__get_raw_query=query))
        if chance.random() < 0.3:
            chance.choice(running).kill(block=False)
        gevent.sleep(0)
    gevent.joinall(running, timeout=PATIENCE_S, raise_error=True)
    until(lambda: not any(len(engine.background) for engine in engines))
    callee.close()
    assert all(greenlet.dead for greenlet in running)
    assert store.leases == {}
