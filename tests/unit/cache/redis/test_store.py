from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import gevent
import pytest
import redis
from gevent import socket

from request_callout.cache.redis.names import entry_name, lease_name
from request_callout.cache.redis.store import MAX_VALUE_BYTES, RedisStore
from request_callout.cache.store import OwnLease
from tests.servers.redis_server import HOST, RedisServer, running
from tests.unit.cache.redis.reaching import RESPONSE, Pretender, lines, settings, store_of, until, warned


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    """A Redis that is empty, and stays as it is."""
    shared_server.command("FLUSHALL")
    shared_server.command("CONFIG", "RESETSTAT")
    return shared_server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Redis that a test may do with as it likes."""
    with running() as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    with store_of(settings(server.port)) as store:
        yield store


@pytest.fixture
def own_store(own_server: RedisServer) -> Iterator[RedisStore]:
    with store_of(settings(own_server.port)) as store:
        yield store


def calls(server: RedisServer, command: str) -> int:
    """How many commands of a kind the server got, those that it refused included."""
    found = re.search(rf"cmdstat_{command}:calls=(\d+),.*rejected_calls=(\d+)", server.command("INFO", "commandstats"))
    return 0 if found is None else int(found[1]) + int(found[2])


def keeps(store: RedisStore, key: str) -> bool:
    """Whether the store takes and gives a value now."""
    store.put(key, RESPONSE, 60)
    return store.get(key) == RESPONSE


def test_what_is_put_is_got(store: RedisStore) -> None:
    """A response comes back as it was put, without its decoded body."""
    assert store.get("k") is None
    store.put("k", replace(RESPONSE, body=["decoded"]), 60)
    assert store.get("k") == RESPONSE


def test_redis_ends_values_itself(server: RedisServer, store: RedisStore) -> None:
    """A value has its time to live in Redis, to the millisecond."""
    store.put("k", RESPONSE, 59.5)
    assert 0 < server.command("PTTL", "request-callout:k") <= 59_500
    store.put("k", RESPONSE, 0.001)
    until(lambda: store.get("k") is None, "the end of the value")


@pytest.mark.parametrize(("ttl_s", "kept"), [(0.0, False), (-1.0, False), (float("nan"), False), (float("inf"), True)])
def test_times_that_are_none(store: RedisStore, caplog: pytest.LogCaptureFixture, ttl_s: float, kept: bool) -> None:
    """No time keeps nothing and gives no lease; one without an end is as long as Redis can count."""
    store.put("k", RESPONSE, ttl_s)
    assert (store.get("k") == RESPONSE) is kept
    assert isinstance(store.lease("k", ttl_s), OwnLease) is not kept
    assert warned(caplog) == []


def test_a_key_that_is_no_text(store: RedisStore) -> None:
    """A key that a script made of any bytes works, and is not another one's."""
    store.put("\udcff", RESPONSE, 60)
    assert store.get("\udcff") == RESPONSE
    assert store.get("\udcfe") is None


def test_an_unreadable_value_is_a_miss(
    server: RedisServer, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Values that are not ours are misses with one log line, and the next ones are read."""
    server.command("SET", "request-callout:k", "something else")
    store.put("other", RESPONSE, 60)
    assert [store.get("k") for _ in range(5)] == [None] * 5
    assert store.get("other") == RESPONSE
    assert len(warned(caplog)) == len(lines(caplog, "can't be read")) == 1


def test_a_wrong_type_is_a_miss(server: RedisServer, store: RedisStore) -> None:
    """A list under the key is a miss, and the Redis goes on being used."""
    server.command("RPUSH", "request-callout:k", "a")
    store.put("other", RESPONSE, 60)
    assert store.get("k") is None
    assert store.get("other") == RESPONSE


@pytest.mark.parametrize("over_bytes", [0, 1])
def test_large_values_are_not_kept(store: RedisStore, caplog: pytest.LogCaptureFixture, over_bytes: int) -> None:
    """A response over the limit, with what is kept around its body, is left out, and the log says how large it was."""
    store.put("k", replace(RESPONSE, raw_body=bytes(MAX_VALUE_BYTES + over_bytes)), 60)
    assert store.get("k") is None
    (line,) = warned(caplog)
    assert "callout auth" in line
    assert str(MAX_VALUE_BYTES) in line


def test_text_without_bytes_is_not_kept(store: RedisStore, caplog: pytest.LogCaptureFixture) -> None:
    """A response that can't be encoded is left out and told of."""
    store.put("k", replace(RESPONSE, headers={"a": "\ud800"}), 60)
    assert store.get("k") is None
    assert len(warned(caplog)) == 1


def test_one_process_has_the_lease(server: RedisServer, store: RedisStore) -> None:
    """While one process has a key's lease no other gets it; after its release another does."""
    with store_of(settings(server.port)) as other:
        lease = store.lease("k", 60)
        assert lease is not None
        assert other.lease("k", 60) is None
        assert other.lease("another", 60) is not None
        lease.release()
        lease.release()
        until(lambda: other.lease("k", 60), "the release")
        assert calls(server, "eval") == 1


def test_a_lease_from_before_an_outage_keeps_nobody_waiting(own_server: RedisServer, own_store: RedisStore) -> None:
    """Who has seen an outage waits for leases that were given since, not for those that were left over from before."""
    with store_of(settings(own_server.port)) as other:
        assert other.lease("k", 60) is not None
        assert own_store.lease("k", 60) is None
        own_server.freeze()
        assert own_store.get("k") is None
        own_server.thaw()
        until(lambda: keeps(own_store, "probe"), "the end of the outage")
        assert isinstance(own_store.lease("k", 60), OwnLease)
        assert other.lease("new", 60) is not None
        assert own_store.lease("new", 60) is None


def test_a_lease_ends_by_itself(server: RedisServer, store: RedisStore) -> None:
    """A lease that is not released is over after its time."""
    assert store.lease("k", 60) is not None
    assert 0 < server.command("PTTL", lease_name(entry_name("k"))) <= 60_000


def test_only_ones_own_lease_is_released(server: RedisServer, store: RedisStore) -> None:
    """A lease that has ended and is another's by now stays the other's."""
    late = store.lease("k", 60)
    assert late is not None
    name = lease_name(entry_name("k"))
    server.command("SET", name, "another's")
    late.release()
    until(lambda: calls(server, "eval") == 1, "the release")
    assert server.command("GET", name) == "another's"


def test_a_greenlet_that_is_ended_leaves_no_lease(own_server: RedisServer, own_store: RedisStore) -> None:
    """A greenlet that is ended while it asks for a lease does not keep others from getting it."""
    assert own_store.get("k") is None
    own_server.freeze()
    asking = gevent.spawn(own_store.lease, "k", 60)
    gevent.sleep(0)  # it runs until it waits for the reply
    asking.kill()
    own_server.thaw()
    until(lambda: calls(own_server, "eval") == 1, "the release")
    assert calls(own_server, "set") == 1
    assert own_server.command("EXISTS", lease_name(entry_name("k"))) == 0


def test_a_greenlet_that_is_ended_spoils_nothing(own_server: RedisServer, own_store: RedisStore) -> None:
    """After greenlets were ended while they waited for values, others get their own values."""
    for number in range(3):
        own_store.put(str(number), replace(RESPONSE, status=200 + number), 60)
    own_server.freeze()
    waiting = [gevent.spawn(own_store.get, str(number)) for number in (0, 1, 2)]
    gevent.sleep(0)  # they run until they wait
    gevent.killall(waiting)
    own_server.thaw()
    for number in (1, 2, 0):
        entry = own_store.get(str(number))
        assert entry is not None
        assert entry.status == 200 + number


def test_a_dead_redis_is_left_alone() -> None:
    """After a failure there is no attempt to connect, whatever is asked for, until a probe is due."""
    with Pretender(None) as nobody, store_of(settings(nobody.port)) as store:
        assert store.get("k") is None
        before = nobody.connections
        for _ in range(1000):
            assert store.get("k") is None
            store.put("k", RESPONSE, 60)
            assert isinstance(store.lease("k", 60), OwnLease)
        store.close()
        with socket.create_connection((HOST, nobody.port)) as last:  # served after all that came before it
            assert last.recv(1) == b""
        assert nobody.connections == before + 1


def test_a_killed_redis_is_found_again(
    own_server: RedisServer, own_store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    """After kill -9 all is a miss; after a restart it works again, without doing anything. Each is one line."""
    assert keeps(own_store, "k")
    own_server.kill()
    assert own_store.get("k") is None
    own_store.put("k", RESPONSE, 60)
    assert isinstance(own_store.lease("k", 60), OwnLease)
    own_server.start()
    until(lambda: keeps(own_store, "k"), "the Redis to be used again")
    assert own_store.lease("k", 60) is not None
    assert own_store.lease("k", 60) is None
    down, up = warned(caplog)
    assert f"here:{own_server.port}" in down
    assert "Connection refused" in down
    assert "answers again" in up


def test_a_lease_of_a_dead_redis_is_left(own_server: RedisServer, own_store: RedisStore) -> None:
    """The release of a lease does not wait for a Redis that can't be used."""
    lease = own_store.lease("k", 60)
    assert lease is not None
    own_server.freeze()
    assert own_store.get("k") is None
    lease.release()
    gevent.idle()
    own_store.close()
    own_server.thaw()
    until(lambda: calls(own_server, "get") == 1, "the server to move again")
    assert calls(own_server, "eval") == 0


def test_a_lease_is_released_after_an_outage(own_server: RedisServer, own_store: RedisStore) -> None:
    """A lease whose release met an outage is released when the Redis is back, not only when its time is over."""
    lease = own_store.lease("k", 60)
    assert lease is not None
    own_server.freeze()
    assert own_store.get("k") is None
    lease.release()
    gevent.idle()
    own_server.thaw()
    until(lambda: own_server.command("EXISTS", lease_name(entry_name("k"))) == 0, "the release")


def test_a_frozen_redis_is_found_again(
    own_server: RedisServer, own_store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits for a Redis that stands still has a miss in time; when it moves again it is used again."""
    assert keeps(own_store, "k")
    own_server.freeze()
    waiting = [gevent.spawn(own_store.get, "k") for _ in range(16)]
    gevent.joinall(waiting, timeout=10)
    assert [greenlet.value for greenlet in waiting] == [None] * 16
    assert all(greenlet.successful() for greenlet in waiting)
    assert isinstance(own_store.lease("k", 60), OwnLease)
    own_server.thaw()
    until(lambda: own_store.get("k") == RESPONSE, "the Redis to be used again")
    assert len(lines(caplog, "no answer in time")) == 1
    assert len(lines(caplog, ") answers again")) == 1


def test_a_full_redis_is_read(own_server: RedisServer, own_store: RedisStore, caplog: pytest.LogCaptureFixture) -> None:
    """Values are still read from a Redis that has no room; it is offered none for a moment, and then one again."""
    assert keeps(own_store, "there")
    own_server.command("CONFIG", "SET", "maxmemory", 1)
    own_server.command("CONFIG", "RESETSTAT")
    for _ in range(20):
        own_store.put("new", RESPONSE, 60)
        assert isinstance(own_store.lease("new", 60), OwnLease)
        assert own_store.get("there") == RESPONSE
    assert calls(own_server, "set") == 1
    own_server.command("CONFIG", "SET", "maxmemory", 0)
    until(lambda: keeps(own_store, "new"), "values to be taken again")
    refused, taken = warned(caplog)
    assert "OOM" in refused
    assert "takes values again" in taken


def test_a_read_only_redis_is_read(
    own_server: RedisServer, own_store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Values are read from a replica that takes none, and it takes them again when it is a master."""
    assert keeps(own_store, "there")
    own_server.command("REPLICAOF", HOST, 1)
    assert isinstance(own_store.lease("new", 60), OwnLease)
    own_store.put("new", RESPONSE, 60)
    assert (own_store.get("new"), own_store.get("there")) == (None, RESPONSE)
    own_server.command("REPLICAOF", "NO", "ONE")
    until(lambda: not isinstance(own_store.lease("new", 60), OwnLease), "leases to be given again")
    assert len(lines(caplog, "takes values again")) == 1
    assert keeps(own_store, "new")
    assert len(lines(caplog, "READONLY")) == 1


def test_a_replica_that_lost_its_master_is_not_used(
    own_server: RedisServer, own_store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    """MASTERDOWN counts as a Redis that does not answer, until it serves again."""
    assert keeps(own_store, "there")
    own_server.command("CONFIG", "SET", "replica-serve-stale-data", "no")
    own_server.command("REPLICAOF", HOST, 1)
    assert own_store.get("there") is None
    own_server.command("REPLICAOF", "NO", "ONE")
    until(lambda: own_store.get("there") == RESPONSE, "the Redis to be used again")
    assert len(lines(caplog, "MASTERDOWN")) == 1


def test_a_wrong_password_is_told_without_it(own_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """With a wrong password all is a miss, the log says so without it, and a right one is used without a restart."""
    own_server.command("CONFIG", "SET", "requirepass", "another")
    with store_of(settings(own_server.port, password="not-the-password")) as store:
        assert store.get("k") is None
        (line,) = warned(caplog)
        assert "password" in line
        assert "not-the-password" not in line
        with redis.Redis(HOST, own_server.port, password="another") as operator:
            operator.config_set("requirepass", "not-the-password")
        until(lambda: keeps(store, "k"), "the password to be right")


def test_a_missing_password_is_told(own_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Without the password that is needed all is a miss, and the log says so."""
    own_server.command("CONFIG", "SET", "requirepass", "needed")
    with store_of(settings(own_server.port)) as store:
        assert store.get("k") is None
    (line,) = warned(caplog)
    assert "uthentication" in line


def test_a_user_who_may_only_read_and_write(caplog: pytest.LogCaptureFixture) -> None:
    """A user without PING and EVAL can use the cache, also after the server was away."""
    user = "--user few on >secret ~request-callout:* +get +set"
    with running(*user.split()) as server, store_of(settings(server.port, username="few", password="secret")) as store:
        assert keeps(store, "k")
        lease = store.lease("k", 60)
        assert lease is not None
        lease.release()
        until(lambda: calls(server, "eval") == 1, "the release to be refused")
        assert keeps(store, "k")
        server.kill()
        assert store.get("k") is None
        server.start()
        until(lambda: keeps(store, "k"), "the Redis to be used again")
    assert lines(caplog, "NOPERM") == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"-LOADING Redis is loading the dataset in memory\r\n", id="loading"),
        pytest.param(b"-CLUSTERDOWN The cluster is down\r\n", id="cluster down"),
        pytest.param(b"-ERR unknown command 'GET', with args beginning with: 'my-key'\r\n", id="unknown command"),
        pytest.param(b"-MOVED nonsense\r\n", id="moved nowhere"),
        pytest.param(b"-\r\n", id="empty error"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", id="http"),
        pytest.param(b"\x00\xff\x00\xff\r\n", id="bytes"),
        pytest.param(b"*-5\r\n", id="impossible array"),
        pytest.param(b"$99999999999999999999\r\n", id="impossible string"),
        pytest.param(b"$5\r\nab", id="half a string"),
        pytest.param(b"?", id="nothing that ends"),
        pytest.param(None, id="closes"),
    ],
)
def test_nonsense_is_a_miss_and_not_asked_for_again(answer: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    """A server that can't be used is asked once; nothing is raised, and one line tells of it, without the key."""
    with Pretender(answer) as server, store_of(settings(server.port)) as store:
        assert store.get("my-key") is None
        asked = server.connections
        store.put("my-key", RESPONSE, 60)
        assert isinstance(store.lease("my-key", 60), OwnLease)
        assert store.get("my-key") is None
        assert server.connections == asked
    (line,) = lines(caplog, "is not used")
    assert "my-key" not in line


@pytest.mark.parametrize("answer", [b":1\r\n", b"+OK\r\n", b"*1\r\n+a\r\n", b"$2\r\nab\r\n"])
def test_a_reply_of_another_kind_is_a_miss(answer: bytes) -> None:
    """A reply that is well-formed but no value of ours is a miss; writes and leases go through or not."""
    with Pretender(answer) as server, store_of(settings(server.port)) as store:
        assert store.get("k") is None
        store.put("k", RESPONSE, 60)
        lease = store.lease("k", 60)
        if lease is not None:
            lease.release()


def test_a_server_with_a_cause_to_go_on_is_used_again() -> None:
    """A server that answered nonsense is used again when it answers as it should."""
    with Pretender(b"-LOADING\r\n") as server, store_of(settings(server.port)) as store:
        assert store.get("k") is None
        server.answer = b"+PONG\r\n"
        until(lambda: isinstance(store.lease("k", 60), OwnLease) is False, "the Redis to be used again")


def test_too_many_at_once_are_misses(own_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Who finds no connection has a miss, and the others go on."""
    with store_of(settings(own_server.port, keepalive_pool_size=1, keepalive_backlog=0)) as store:
        assert keeps(store, "k")
        own_server.freeze()
        asking = [gevent.spawn(store.get, "k") for _ in range(5)]
        gevent.joinall(asking[1:], timeout=10)
        own_server.thaw()
        gevent.joinall(asking, timeout=10)
        assert [greenlet.value for greenlet in asking] == [RESPONSE, None, None, None, None]
        assert store.get("k") == RESPONSE
    (line,) = warned(caplog)
    assert "pool" in line


def test_a_closed_store_connects_no_more(server: RedisServer) -> None:
    """After close a store keeps and finds nothing, and has no connection."""
    with store_of(settings(server.port)) as store:
        assert keeps(store, "k")
        store.close()
        assert store.get("k") is None
        store.put("k", RESPONSE, 60)
        assert isinstance(store.lease("k", 60), OwnLease)
        until(lambda: len(server.command("CLIENT", "LIST").splitlines()) == 1, "the connections to be closed")
