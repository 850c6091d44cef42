"""A cluster of three masters: where keys go, slots that move, nodes that die."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gevent
import pytest
from redis.exceptions import ClusterError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from request_callout.cache.redis.clients import RedisClient, connect
from request_callout.config import model
from tests.servers.redis_cluster import FIRST_SLOTS, Cluster, cluster
from tests.servers.redis_server import HOST, RedisServer, until
from tests.servers.redis_settings import settings, timeouts

LONG_MS = 60_000
SHORT_MS = 500
KEYS = [f"key{number}" for number in range(60)]


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """A cluster whose nodes live; its slots may have moved."""
    with cluster() as group:
        yield group


@pytest.fixture
def group() -> Iterator[Cluster]:
    """A cluster whose nodes a test may kill."""
    with cluster() as group:
        yield group


def client_of(group: Cluster, **changes: Any) -> closing[RedisClient]:
    nodes = tuple(model.HostPort(HOST, node.port) for node in group.nodes)
    return closing(connect(settings(**({"cluster_nodes": nodes} | changes))))


def others_of(group: Cluster, node: RedisServer) -> list[RedisServer]:
    return [other for other in group.nodes if other is not node]


def keys_of(group: Cluster, node: RedisServer) -> list[str]:
    return [key for key in KEYS if group.owner_of(group.slot_of(key)) is node]


def test_keys_are_spread_over_all_nodes(shared: Cluster) -> None:
    """Each key is on its slot's master, and is found there; listing visits all masters."""
    with client_of(shared) as client:
        for key in KEYS:
            client.set(f"spread:{key}", key.encode(), LONG_MS)
        assert [client.get(f"spread:{key}") for key in KEYS] == [key.encode() for key in KEYS]
        assert sorted(client.scan("spread:*")) == sorted(f"spread:{key}" for key in KEYS)
        assert all(int(node.command("DBSIZE")) > 0 for node in shared.nodes)
        assert [client.delete(f"spread:{key}") for key in KEYS] == [True] * len(KEYS)
        client.ping()


def test_a_lease_is_in_the_slot_of_its_key(shared: Cluster) -> None:
    """Acquiring and releasing work on a key with a hash tag."""
    with client_of(shared) as client:
        assert client.acquire("lock:{a-key}", b"token", LONG_MS)
        assert not client.acquire("lock:{a-key}", b"other", LONG_MS)
        client.release("lock:{a-key}", b"token")
        assert client.get("lock:{a-key}") is None
    assert shared.slot_of("lock:{a-key}") == shared.slot_of("a-key")


def test_a_database_is_not_selected(shared: Cluster) -> None:
    """A cluster has one database only, so the setting means nothing."""
    with client_of(shared, database=1) as client:
        client.set("database", b"x", LONG_MS)
        assert client.get("database") == b"x"


def test_a_moved_slot_is_followed(shared: Cluster) -> None:
    """After a slot went to another node with its keys, they are read and written there."""
    slot = shared.slot_of("moved")
    source = shared.owner_of(slot)
    target = others_of(shared, source)[0]
    with client_of(shared) as client:
        client.set("moved", b"before", LONG_MS)
        shared.move(slot, target)
        assert client.get("moved") == b"before"
        client.set("moved", b"after", LONG_MS)
        assert client.get("moved") == b"after"
    assert target.command("GET", "moved") == "after"


def test_a_slot_on_its_way_is_followed_by_ask(shared: Cluster) -> None:
    """While a slot moves, keys that are there already, and new ones, are used there; the others where they were."""
    one, two, new = "{way}one", "{way}two", "{way}new"
    slot = shared.slot_of(one)
    source = shared.owner_of(slot)
    target = others_of(shared, source)[0]
    with client_of(shared) as client:
        client.set(one, b"1", LONG_MS)
        shared.begin_move(slot, source, target)
        shared.move_keys(slot, source, target)
        source_keeps = client.get(two)
        client.set(new, b"new", LONG_MS)
        assert [client.get(one), source_keeps, client.get(new)] == [b"1", None, b"new"]
        assert source.command("CLUSTER", "COUNTKEYSINSLOT", slot) == 0
        shared.finish_move(slot, target)
        assert [client.get(one), client.get(new)] == [b"1", b"new"]


def test_redirections_are_limited(shared: Cluster) -> None:
    """More redirections than allowed are an error, not a circle."""
    slot = shared.slot_of("limited")
    target = others_of(shared, shared.owner_of(slot))[0]
    with client_of(shared, cluster_max_redirections=0) as client:
        client.set("limited", b"x", LONG_MS)
        shared.move(slot, target)
        with pytest.raises(ClusterError):
            client.get("limited")
        assert client.get("limited") == b"x"


def test_a_slot_moves_under_load(shared: Cluster) -> None:
    """Sixteen greenlets that read and write a slot's keys see no error and no miss while it moves back and forth."""
    keys = [f"{{load}}{number}" for number in range(16)]
    slot = shared.slot_of(keys[0])
    first = shared.owner_of(slot)
    second = others_of(shared, first)[0]
    done = False
    rounds = dict.fromkeys(keys, 0)

    def work(key: str) -> None:
        while not done:
            client.set(key, key.encode(), LONG_MS)
            assert client.get(key) == key.encode()
            rounds[key] += 1

    with client_of(shared) as client:
        greenlets = [gevent.spawn(work, key) for key in keys]
        until(lambda: min(rounds.values()) > 5, "all to have begun")
        for target in (second, first, second):
            shared.move(slot, target)
            rounds.update(dict.fromkeys(keys, 0))
            until(lambda: min(rounds.values()) > 5, "all to go on")
        done = True
        gevent.joinall(greenlets, raise_error=True)


def test_one_node_of_those_given_is_enough(group: Cluster) -> None:
    """The cluster is found by any of its nodes, even if others are gone or silent."""
    first, second, third = group.nodes
    key = keys_of(group, third)[0]
    first.kill()
    second.freeze()
    with client_of(group, **timeouts(3000)) as client:
        client.set(key, b"x", LONG_MS)
        assert client.get(key) == b"x"


def test_a_dead_node_takes_only_its_keys_along(group: Cluster) -> None:
    """Keys of a node that died are errors, all others stay in use; a node that comes back is used again."""
    dead = group.nodes[1]
    lost, kept = keys_of(group, dead)[0], keys_of(group, group.nodes[2])[0]
    with client_of(group) as client:
        client.set(kept, b"x", LONG_MS)
        client.set(lost, b"x", LONG_MS)
        dead.kill()
        for _ in range(3):
            with pytest.raises((RedisConnectionError, ClusterError)):
                client.get(lost)
            assert client.get(kept) == b"x"
        with pytest.raises((RedisError, OSError)):
            client.ping()
        dead.start()
        until(lambda: "cluster_state:ok" in dead.command("CLUSTER", "INFO"), "the node to be back")
        client.set(lost, b"again", LONG_MS)
        assert client.get(lost) == b"again"
        client.ping()


def test_a_silent_node_takes_only_its_keys_along(group: Cluster) -> None:
    """Commands for a node that stopped cost the timeout; keys of others do not wait."""
    silent = group.nodes[0]
    lost, kept = keys_of(group, silent)[0], keys_of(group, group.nodes[2])[0]
    with client_of(group, **timeouts(SHORT_MS)) as client:
        client.set(kept, b"x", LONG_MS)
        client.set(lost, b"x", LONG_MS)
        silent.freeze()
        with pytest.raises((RedisTimeoutError, RedisConnectionError, ClusterError)):
            client.get(lost)
        assert client.get(kept) == b"x"
        silent.thaw()
        until(lambda: value_or_none(client, lost) == b"x", "the node to answer again")


def test_slots_of_a_dead_node_that_others_took_over(group: Cluster) -> None:
    """When another node has the slots of one that died, a command to the dead one is tried there, without an error."""
    dead, heir, _ = group.nodes
    key = keys_of(group, dead)[0]
    slot = group.slot_of(key)
    with client_of(group) as client:
        client.set(key, b"x", LONG_MS)
        dead.kill()
        for node in others_of(group, dead):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", heir.command("CLUSTER", "MYID"))
        client.set(key, b"new", LONG_MS)
        assert client.get(key) == b"new"
    assert heir.command("GET", key) == "new"


def test_slots_that_another_took_over_are_noticed_by_pings_alone(group: Cluster) -> None:
    """A client that only asks for signs of life gets one when another node has all slots of one that died."""
    dead, heir, _ = group.nodes
    living = others_of(group, dead)
    with client_of(group) as client:
        client.ping()
        dead.kill()
        with pytest.raises((RedisError, OSError)):
            client.ping()
        for node in living:
            node.command("CLUSTER", "DELSLOTSRANGE", *FIRST_SLOTS)
        heir.command("CLUSTER", "ADDSLOTSRANGE", *FIRST_SLOTS)
        until(lambda: all("cluster_slots_ok:16384" in one.command("CLUSTER", "INFO") for one in living), "all to know")
        client.ping()


def value_or_none(client: RedisClient, key: str) -> bytes | None:
    try:
        return client.get(key)
    except (RedisError, OSError):
        return None
