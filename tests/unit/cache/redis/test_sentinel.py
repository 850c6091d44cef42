"""A master and a replica behind three sentinels: roles, failovers, and sentinels that are gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gevent
import pytest
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from request_callout.cache.redis.clients import RedisClient, connect
from request_callout.cache.redis.topology import REFRESH_S
from request_callout.config import model
from tests.servers.redis_sentinels import MASTER_NAME, Sentinels, sentinels
from tests.servers.redis_server import HOST, RedisServer, running, until
from tests.servers.redis_settings import settings, timeouts

LONG_MS = 60_000
SHORT_MS = 300


@pytest.fixture(scope="module")
def steady() -> Iterator[Sentinels]:
    """Servers that stay as they are."""
    with sentinels() as group:
        yield group


@pytest.fixture
def group() -> Iterator[Sentinels]:
    """Servers that a test may kill."""
    with sentinels() as group:
        yield group


def client_of(group: Sentinels, sentinel_role: str = "master", **changes: Any) -> closing[RedisClient]:
    nodes = tuple(model.HostPort(HOST, sentinel.port) for sentinel in group.sentinels)
    given = {"sentinel_nodes": nodes, "sentinel_master": MASTER_NAME, "sentinel_role": sentinel_role}
    return closing(connect(settings(**(given | changes))))


def gets(server: RedisServer) -> int:
    """How many GET commands a server has run."""
    for line in server.command("INFO", "commandstats").splitlines():
        if line.startswith("cmdstat_get:"):
            return int(line.partition("calls=")[2].partition(",")[0])
    return 0


@pytest.mark.parametrize(("role", "reader"), [("master", 0), ("slave", 1), ("any", 0)])
def test_where_reads_go(steady: Sentinels, role: str, reader: int) -> None:
    """Role master and any read from the master, slave from the replica; all write to the master."""
    with client_of(steady, role) as client:
        client.set("key", b"x", LONG_MS)
        steady.wait_for_replica()
        before = [gets(server) for server in steady.servers]
        assert [client.get("key") for _ in range(10)] == [b"x"] * 10
        after = [gets(server) for server in steady.servers]
        client.ping()
    assert [after[0] - before[0], after[1] - before[1]] == [10 if which == reader else 0 for which in range(2)]


def test_all_commands(steady: Sentinels) -> None:
    """Leases, listing and deleting work as on a single server."""
    with client_of(steady, "slave") as client:
        assert client.acquire("ours:lock", b"token", LONG_MS)
        assert list(client.scan("ours:*")) == ["ours:lock"]
        client.release("ours:lock", b"token")
        assert not client.delete("ours:lock")


def test_the_database_is_selected_on_the_servers(steady: Sentinels) -> None:
    """Sentinels have no databases, the servers behind them have."""
    with client_of(steady, database=2) as client:
        client.set("key", b"x", LONG_MS)
    assert "db2:keys=1" in steady.servers[0].command("INFO", "keyspace")


def test_an_unknown_master(steady: Sentinels) -> None:
    """A name that no sentinel watches is an error."""
    with client_of(steady, sentinel_master="other") as client, pytest.raises(RedisConnectionError):
        client.get("key")


def test_an_ordered_failover_is_not_noticed(group: Sentinels) -> None:
    """When the sentinels make the replica the master, reads and writes go on, and need the sentinels no more."""
    with client_of(group) as client:
        client.set("key", b"old", LONG_MS)
        group.wait_for_replica()
        new = group.fail_over()
        client.set("key", b"new", LONG_MS)
        for sentinel in group.sentinels:
            sentinel.freeze()
        started = time.monotonic()
        assert client.get("key") == b"new"
        assert time.monotonic() - started < LONG_MS / 1000 / 6
    assert new.command("GET", "key") == "new"


@pytest.mark.parametrize("end", [RedisServer.kill, RedisServer.freeze])
def test_the_death_of_the_master_is_followed(group: Sentinels, end: Any) -> None:
    """Killed or stopped: commands fail until the sentinels name another master, then work again by themselves."""
    with client_of(group, "master", **timeouts(SHORT_MS)) as client:
        client.set("key", b"kept", LONG_MS)
        group.wait_for_replica()
        end(group.servers[0])
        with pytest.raises((RedisError, OSError)):
            client.set("other", b"x", LONG_MS)
        until(lambda: works(client), "the failover", 60)
        assert client.get("key") == b"kept"
    assert group.servers[1].command("GET", "probe") == "x"


def test_a_failover_is_noticed_by_pings_alone(group: Sentinels) -> None:
    """A client that only asks for signs of life gets one soon after the replica has become the master."""
    with client_of(group, "master", **timeouts(SHORT_MS)) as client:
        client.ping()
        group.servers[0].kill()
        with pytest.raises((RedisError, OSError)):
            client.ping()
        until(lambda: group.master_port() == group.servers[1].port, "the failover", 60)
        until(lambda: pings(client), "a sign of life from the new master", REFRESH_S / 3)


def test_role_slave_reads_from_the_master_without_replicas(group: Sentinels) -> None:
    """A replica that is gone costs no error: the master answers."""
    with client_of(group, "slave") as client:
        client.set("key", b"x", LONG_MS)
        group.wait_for_replica()
        assert client.get("key") == b"x"
        group.servers[1].kill()
        assert [client.get("key") for _ in range(5)] == [b"x"] * 5


def test_role_any_reads_from_the_replica_when_the_master_is_silent(group: Sentinels) -> None:
    """A master that stopped costs one timeout; the next reads go to the replica, before any failover."""
    with client_of(group, "any", **timeouts(SHORT_MS)) as client:
        client.set("key", b"x", LONG_MS)
        group.wait_for_replica()
        group.servers[0].freeze()
        with pytest.raises(RedisTimeoutError):
            client.get("key")
        assert client.get("key") == b"x"


def test_sentinels_that_are_gone_or_silent_are_passed_over(group: Sentinels) -> None:
    """One sentinel that answers is enough."""
    group.sentinels[0].kill()
    group.sentinels[1].freeze()
    with client_of(group, "master", **timeouts(3000)) as client:
        client.set("key", b"x", LONG_MS)
        assert client.get("key") == b"x"


def test_no_sentinel_at_all(group: Sentinels) -> None:
    """What is known stays in use without sentinels; a client that knows nothing gets an error."""
    with client_of(group) as client, client_of(group) as late:
        client.set("key", b"x", LONG_MS)
        for sentinel in group.sentinels:
            sentinel.kill()
        assert client.get("key") == b"x"
        with pytest.raises(RedisConnectionError):
            late.get("key")
        group.servers[0].kill()
        with pytest.raises(RedisConnectionError):
            client.get("key")
        group.servers[0].start()
        assert client.get("key") is None


def test_a_failover_under_load(group: Sentinels) -> None:
    """Sixteen greenlets that read and write go on through an ordered failover without one error."""
    done = False
    rounds = [0] * 16

    def work(number: int) -> None:
        while not done:
            client.set(f"key{number}", b"x", LONG_MS)
            client.get(f"key{number}")
            rounds[number] += 1
            gevent.sleep(0.001)

    with client_of(group) as client:
        greenlets = [gevent.spawn(work, number) for number in range(16)]
        until(lambda: min(rounds) > 5, "all to have begun")
        group.fail_over()
        reached = list(rounds)
        until(lambda: all(now > then + 5 for now, then in zip(rounds, reached, strict=True)), "all to go on")
        done = True
        gevent.joinall(greenlets, raise_error=True)


def test_the_sentinels_have_a_password_of_their_own() -> None:
    """The sentinels' user and password are used for them, and not for the servers."""
    with running() as server:
        conf = f"sentinel monitor {MASTER_NAME} {HOST} {server.port} 1\nrequirepass sentinels-own\n"
        with running(sentinel_conf=conf) as sentinel:
            given = {
                "sentinel_nodes": (model.HostPort(HOST, sentinel.port),),
                "sentinel_master": MASTER_NAME,
                "sentinel_role": "master",
                "sentinel_username": "default",
            }
            with closing(connect(settings(**given, sentinel_password="sentinels-own"))) as client:
                client.ping()
            with closing(connect(settings(**given, sentinel_password="wrong"))) as client:
                with pytest.raises(AuthenticationError) as raised:
                    client.ping()
                assert "wrong" not in str(raised.value)


def pings(client: RedisClient) -> bool:
    try:
        client.ping()
    except (RedisError, OSError):
        return False
    return True


def works(client: RedisClient) -> bool:
    try:
        client.set("probe", b"x", LONG_MS)
    except (RedisError, OSError):
        return False
    return True
