"""What clients notice when the Redis of the cache dies, stops, or changes its master in the middle of load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.failures.cached_stage import CachedSite, Got, cached_site, in_redis, share_of_hits
from tests.failures.stage import token
from tests.servers.redis_cluster import Cluster, cluster
from tests.servers.redis_sentinels import MASTER_NAME, Sentinels, sentinels
from tests.servers.redis_server import HOST, RedisServer, running

OUTAGE = 150
"""Requests that have to be begun and answered while there is no Redis."""


@pytest.fixture(scope="module")
def single() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def site(single: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CachedSite]:
    """A gateway whose plugin keeps its responses in ``single``."""
    with cached_site(tmp_path_factory.mktemp("single"), in_redis(host=HOST, port=single.port)) as site:
        yield site


@pytest.fixture(scope="module")
def masters() -> Iterator[Cluster]:
    with cluster() as group:
        yield group


@pytest.fixture(scope="module")
def clustered(masters: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CachedSite]:
    """A gateway whose plugin keeps its responses in ``masters``."""
    nodes = [{"ip": HOST, "port": node.port} for node in masters.nodes]
    with cached_site(tmp_path_factory.mktemp("cluster"), in_redis(cluster_nodes=nodes)) as site:
        yield site


@pytest.fixture
def group() -> Iterator[Sentinels]:
    with sentinels() as group:
        yield group


@pytest.fixture
def watched(group: Sentinels, tmp_path: Path) -> Iterator[CachedSite]:
    """A gateway whose plugin keeps its responses with the master of ``group``."""
    nodes = [{"host": HOST, "port": sentinel.port} for sentinel in group.sentinels]
    cache = in_redis(sentinel_nodes=nodes, sentinel_master=MASTER_NAME, sentinel_role="master")
    with cached_site(tmp_path, cache) as site:
        yield site


def told(before: list[Got], during: list[Got], after: list[Got]) -> None:
    """Print the share of hits of the three phases."""
    shares = ", ".join(f"{share_of_hits(phase):.0%} of {len(phase)}" for phase in (before, during, after))
    print(f"hits before, during and after: {shares}")


def entry_with(masters: Cluster, body: str) -> str:
    """The name under which the cluster has the response with this in its body."""
    for node in masters.nodes:
        with closing(redis.Redis(HOST, node.port)) as client:
            for name in client.scan_iter("request-callout:*", 1000):
                if body.encode() in (client.get(name) or b""):
                    return str(name.decode())
    raise AssertionError("no node has it")


@pytest.mark.parametrize(
    ("end", "begin"),
    [(RedisServer.kill, RedisServer.start), (RedisServer.freeze, RedisServer.thaw)],
    ids=["killed", "stopped"],
)
def test_a_redis_that_is_gone_for_a_while(
    site: CachedSite, single: RedisServer, end: Callable[[RedisServer], None], begin: Callable[[RedisServer], None]
) -> None:
    """Without Redis every request gets its value from the callee, and hits come back with it."""
    with site.load() as clients:
        clients.wait_for_hits()
        end(single)
        gone_s = time.monotonic()
        try:
            clients.wait_for_answers(OUTAGE, gone_s)
        finally:
            back_s = time.monotonic()
            begin(single)
        during = clients.got(gone_s, back_s)
        clients.wait_for_hits()
    assert "hit" not in {one.cache for one in during}
    told(clients.got(0, gone_s), during, clients.got(back_s))


def test_the_death_of_a_master(watched: CachedSite, group: Sentinels) -> None:
    """When the sentinels have made the replica the master, what it has is found there."""
    with watched.load() as clients:
        known = {one.key: one.call for one in clients.wait_for_hits()}
        group.wait_for_replica()
        gone_s = time.monotonic()
        group.servers[0].kill()
        clients.wait_for_answers(OUTAGE, gone_s)
        settled = clients.wait_for_hits()
    assert {one.key: one.call for one in settled}.keys() == known.keys()
    assert group.master_port() == group.servers[1].port
    told(clients.got(0, gone_s), clients.got(gone_s, settled[0].began_s), clients.got(settled[0].began_s))


def test_an_ordered_failover(watched: CachedSite, group: Sentinels) -> None:
    """When the sentinels exchange master and replica, no request waits for long, and hits go on at the new master."""
    with watched.load() as clients:
        clients.wait_for_hits()
        gone_s = time.monotonic()
        new = group.fail_over()
        settled = clients.wait_for_hits()
    assert new.command("ROLE")[0] == "master"
    told(clients.got(0, gone_s), clients.got(gone_s, settled[0].began_s), clients.got(settled[0].began_s))


def test_a_slot_that_moves(clustered: CachedSite, masters: Cluster) -> None:
    """While the slot of a key that is asked for moves to another master and back, the key is found all the time."""
    with clustered.load() as clients:
        clients.wait_for_hits()
        entry = entry_with(masters, token("hot-0"))
        began_s = time.monotonic()
        for _ in range(3):
            slot = masters.slot_of(entry)
            source = masters.owner_of(slot)
            target = next(node for node in masters.nodes if node is not source)
            masters.begin_move(slot, source, target)
            clients.wait_for_answers(50, time.monotonic())
            masters.move_keys(slot, source, target)
            clients.wait_for_answers(50, time.monotonic())
            masters.finish_move(slot, target)
            clients.wait_for_answers(50, time.monotonic())
        settled = clients.wait_for_hits()
    moving = [one for one in clients.got(began_s, settled[0].began_s) if one.is_hot]
    assert share_of_hits(moving) > 0.5
    told(clients.got(0, began_s), clients.got(began_s, settled[0].began_s), settled)


def test_the_death_of_one_master_of_a_cluster(clustered: CachedSite, masters: Cluster) -> None:
    """One of three masters dies and comes back: until then the callee stands in, then there are hits again."""
    node = masters.nodes[0]
    with clustered.load() as clients:
        clients.wait_for_hits()
        gone_s = time.monotonic()
        node.kill()
        try:
            clients.wait_for_answers(OUTAGE, gone_s)
        finally:
            back_s = time.monotonic()
            node.start()
        clients.wait_for_hits()
    told(clients.got(0, gone_s), clients.got(gone_s, back_s), clients.got(back_s))
