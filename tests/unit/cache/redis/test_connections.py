"""One server: what the commands do, TLS and login, times, the pool, and what happens when the server goes away."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.server import StreamServer
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, MaxConnectionsError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from request_callout.cache.redis.clients import RedisClient, connect
from tests.servers.redis_server import (
    PASSWORD,
    TLS_NAME,
    USERNAME,
    RedisServer,
    SecureRedis,
    running,
    secure_redis,
    until,
)
from tests.servers.redis_settings import settings, timeouts

LONG_MS = 60_000
SHORT_MS = 200
GENEROUS_S = 15.0
"""More than any short timeout by far, less than any long one."""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureRedis]:
    with secure_redis() as server:
        yield server


def client_of(server: RedisServer, **changes: Any) -> closing[RedisClient]:
    return closing(connect(settings(port=server.port, **changes)))


def connections_to(server: RedisServer) -> int:
    return len(server.command("CLIENT", "LIST").splitlines()) - 1


def test_a_value_is_kept_for_its_time(server: RedisServer) -> None:
    """What is set can be got, as the bytes it was, until its milliseconds are over."""
    value = bytes(range(256)) * 5000
    with client_of(server) as client:
        client.set("kept", value, LONG_MS)
        client.set("short", b"x", 1)
        assert client.get("kept") == value
        assert client.get("never") is None
        left_ms = client.ttl_ms("kept")
        assert left_ms is not None
        assert 0 < left_ms <= LONG_MS
        until(lambda: client.get("short") is None, "the end of a millisecond")


def test_what_has_no_end_has_no_ttl(server: RedisServer) -> None:
    """Neither a missing key nor one that stays has milliseconds left."""
    server.command("SET", "stays", "x")
    with client_of(server) as client:
        assert client.ttl_ms("stays") is None
        assert client.ttl_ms("missing") is None


def test_a_token_is_taken_once_and_given_back_by_its_owner(server: RedisServer) -> None:
    """Of two only one acquires; releasing with another token does nothing, with the right one it frees the key."""
    with client_of(server) as client:
        assert client.acquire("lock", b"one", LONG_MS)
        assert not client.acquire("lock", b"two", LONG_MS)
        client.release("lock", b"two")
        assert client.get("lock") == b"one"
        client.release("lock", b"one")
        assert client.acquire("lock", b"two", LONG_MS)
        assert 0 < (client.ttl_ms("lock") or 0) <= LONG_MS


def test_keys_are_listed_page_by_page(server: RedisServer) -> None:
    """Scan finds all keys that match, however many, and no others."""
    with client_of(server) as client:
        for number in range(1500):
            client.set(f"ours:{number}", b"", LONG_MS)
        client.set("theirs", b"", LONG_MS)
        assert set(client.scan("ours:*")) == {f"ours:{number}" for number in range(1500)}


def test_delete_tells_whether_there_was_anything(server: RedisServer) -> None:
    """A key is deleted once."""
    with client_of(server) as client:
        client.set("key", b"x", LONG_MS)
        assert client.delete("key")
        assert not client.delete("key")


def test_the_database_is_selected(server: RedisServer) -> None:
    """Values go into the configured database."""
    with client_of(server, database=3) as client:
        client.set("key", b"x", LONG_MS)
    assert "db3:keys=1" in server.command("INFO", "keyspace")


def test_a_proxy_gets_no_command_that_needs_one_server(server: RedisServer) -> None:
    """Through a proxy no database is selected and no keys are listed; all else works."""
    with client_of(server, database=3, connection_is_proxied=True) as client:
        client.ping()
        assert client.acquire("key", b"x", LONG_MS)
        assert client.get("key") == b"x"
        client.release("key", b"x")
        client.set("key", b"x", LONG_MS)
        with pytest.raises(RedisError):
            list(client.scan("*"))
    assert "db0:keys=1" in server.command("INFO", "keyspace")


def secure_settings(secure: SecureRedis, **changes: Any) -> Any:
    given = {"ssl": True, "server_name": TLS_NAME, "username": USERNAME, "password": PASSWORD}
    return settings(port=secure.server.port, **(given | changes))


def test_tls_and_an_acl_user(secure: SecureRedis) -> None:
    """With the right CA, name, user and password, commands work on the keys that the user may see, and only there."""
    with closing(connect(secure_settings(secure), ca_file=secure.ca_file)) as client:
        value = b"x" * 300_000
        client.set("request-callout:key", value, LONG_MS)
        assert client.get("request-callout:key") == value
        with pytest.raises(NoPermissionError):
            client.get("other")
        assert client.get("request-callout:key") == value


def test_a_certificate_of_an_unknown_ca_is_refused(secure: SecureRedis) -> None:
    """The system's CAs count unless a file is given."""
    with closing(connect(secure_settings(secure))) as client, pytest.raises(RedisConnectionError, match="CERTIFICATE"):
        client.get("request-callout:key")


@pytest.mark.parametrize("name", ["other.example", None])
def test_a_certificate_for_another_name_is_refused(secure: SecureRedis, name: str | None) -> None:
    """The certificate must be for the server name, or for the host if there is none."""
    client = connect(secure_settings(secure, server_name=name), ca_file=secure.ca_file)
    with closing(client), pytest.raises(RedisConnectionError, match="CERTIFICATE"):
        client.get("request-callout:key")


def test_any_certificate_does_without_verification(secure: SecureRedis) -> None:
    """With ssl_verify off neither CA nor name matter."""
    with closing(connect(secure_settings(secure, ssl_verify=False, server_name="other.example"))) as client:
        client.ping()


@pytest.mark.parametrize("login", [{"password": "wrong-secret"}, {"username": "nobody"}, {"username": None}])
def test_a_wrong_login_is_an_error_without_secrets(secure: SecureRedis, login: dict[str, Any]) -> None:
    """A user or password that does not fit fails each command, and the error does not repeat the password."""
    client = connect(secure_settings(secure, **login), ca_file=secure.ca_file)
    with closing(client), pytest.raises(AuthenticationError) as raised:
        client.get("request-callout:key")
    assert PASSWORD not in str(raised.value)
    assert "wrong-secret" not in str(raised.value)


def test_no_tls_to_a_tls_port_is_an_error(secure: SecureRedis) -> None:
    """A server that answers what is not Redis's protocol, or hangs up, is an error."""
    with closing(connect(settings(port=secure.server.port))) as client, pytest.raises((RedisError, OSError)):
        client.get("request-callout:key")


def test_credentials_are_asked_for_with_each_connection(secure: SecureRedis) -> None:
    """A provider takes the place of user and password; what it says may change from connection to connection."""
    asked: list[str] = []

    class Provider(CredentialProvider):
        def get_credentials(self) -> tuple[str, str]:
            asked.append(USERNAME)
            return USERNAME, PASSWORD

    client = connect(secure_settings(secure, username=None, password=None), Provider(), secure.ca_file)
    client.ping()
    client.ping()
    assert len(asked) == 1
    client.close()
    client.ping()
    assert len(asked) == 2
    client.close()


def test_a_connection_that_was_cut_while_logging_in_is_not_used(secure: SecureRedis) -> None:
    """A greenlet that ends while it waits for credentials leaves no connection behind that lacks its AUTH."""
    delays_s = [LONG_MS / 1000, 0.0]
    asked = Event()

    class Provider(CredentialProvider):
        def get_credentials(self) -> tuple[str, str]:
            asked.set()
            gevent.sleep(delays_s.pop(0))
            return USERNAME, PASSWORD

    client = connect(secure_settings(secure, username=None, password=None), Provider(), secure.ca_file)
    with closing(client):
        greenlet = gevent.spawn(client.ping)
        assert asked.wait(GENEROUS_S)
        greenlet.kill()
        client.ping()


def test_the_connect_timeout_covers_tls() -> None:
    """A server that takes the connection and then says nothing costs the connect timeout, not the read timeout."""
    with silent_server() as port:
        client = connect(settings(port=port, ssl=True, connect_timeout_ms=SHORT_MS, read_timeout_ms=LONG_MS))
        assert takes_less_than(GENEROUS_S, client)


def test_the_read_timeout(server: RedisServer) -> None:
    """A server that stopped costs the read timeout, even if others are long."""
    with client_of(server, connect_timeout_ms=LONG_MS, read_timeout_ms=SHORT_MS) as client:
        server.freeze()
        assert takes_less_than(GENEROUS_S, client)
        server.thaw()


def test_the_send_timeout(server: RedisServer) -> None:
    """A server that takes no more bytes costs the send timeout, even if others are long."""
    with client_of(server, send_timeout_ms=SHORT_MS, read_timeout_ms=LONG_MS) as client:
        client.ping()
        server.freeze()
        started = time.monotonic()
        with pytest.raises(RedisTimeoutError):
            client.set("key", bytes(50_000_000), LONG_MS)
        assert time.monotonic() - started < GENEROUS_S
        server.thaw()


def test_a_reply_in_drops_is_cut() -> None:
    """The read timeout is for the whole reply: bytes that trickle in do not prolong it."""

    def trickle(sock: Any, _address: Any) -> None:
        sock.recv(1000)
        sock.sendall(b"$1000000\r\n")
        while True:
            gevent.sleep(0.01)
            sock.sendall(b"x")

    with Listening(trickle) as port, closing(connect(settings(port=port, **timeouts(SHORT_MS)))) as client:
        assert takes_less_than(GENEROUS_S, client)


def test_all_steps_of_a_command_share_one_time() -> None:
    """AUTH and the command together take no longer than the longest timeout, though each alone stays within it."""

    def slow(sock: Any, _address: Any) -> None:
        for reply in (b"+OK\r\n", b"$1\r\nx\r\n"):
            sock.recv(1000)
            gevent.sleep(0.6 * SHORT_MS / 1000)
            sock.sendall(reply)

    with Listening(slow) as port:
        client = connect(settings(port=port, password="secret", **timeouts(SHORT_MS)))
        with closing(client), pytest.raises(RedisTimeoutError):
            client.get("key")


def test_nobody_listens(server: RedisServer) -> None:
    """A refused connection is an error at once."""
    server.kill()
    with client_of(server) as client, pytest.raises(RedisConnectionError):
        client.get("key")


def test_a_name_that_does_not_exist() -> None:
    """A host name that can't be resolved is an error like any other."""
    with closing(connect(settings(host="redis.invalid"))) as client, pytest.raises(RedisConnectionError):
        client.get("key")


def test_a_restart_is_not_noticed(server: RedisServer) -> None:
    """Connections that a restart closed are replaced without an error, however many there are."""
    with client_of(server) as client:
        gevent.joinall([gevent.spawn(client.ping) for _ in range(20)], raise_error=True)
        server.kill()
        server.start()
        client.set("key", b"new", LONG_MS)
        greenlets = [gevent.spawn(client.get, "key") for _ in range(40)]
        gevent.joinall(greenlets, raise_error=True)
        assert {greenlet.value for greenlet in greenlets} == {b"new"}


def test_a_late_reply_is_for_nobody(server: RedisServer) -> None:
    """After a timeout the reply that comes late is not taken for that of the next command."""
    with client_of(server, read_timeout_ms=SHORT_MS, connect_timeout_ms=LONG_MS) as client:
        client.set("one", b"1", LONG_MS)
        client.set("two", b"2", LONG_MS)
        server.freeze()
        with pytest.raises(RedisTimeoutError):
            client.get("one")
        server.thaw()
        until(lambda: answers(client), "the server to run again")
        assert [client.get("two"), client.get("one")] == [b"2", b"1"]


def test_a_greenlet_killed_at_any_moment_leaves_nothing_behind(server: RedisServer) -> None:
    """Whenever a greenlet is ended, the next commands get their own replies, and its place in the pool is free."""
    with client_of(server, keepalive_pool_size=2, keepalive_backlog=0) as client:
        for key in "ab":
            client.set(key, key.encode(), LONG_MS)
        for switches in itertools.chain(range(8), range(8)):
            greenlets = [gevent.spawn(client.get, "a"), gevent.spawn(client.get, "a")]
            for _ in range(switches):
                gevent.sleep(0)
            gevent.killall(greenlets)
            if switches % 3 == 0:  # so that some are killed while they connect
                client.close()
            assert [client.get("b"), client.get("a")] == [b"b", b"a"]


def test_a_timeout_of_the_caller_passes_through(server: RedisServer) -> None:
    """A gevent.Timeout that the caller started is raised as it is, and the connection is not used again."""
    with client_of(server) as client:
        client.set("one", b"1", LONG_MS)
        client.set("two", b"2", LONG_MS)
        server.freeze()
        with pytest.raises(gevent.Timeout), gevent.Timeout(SHORT_MS / 1000):
            client.get("one")
        server.thaw()
        assert client.get("two") == b"2"


def test_a_hundred_commands_run_side_by_side(server: RedisServer) -> None:
    """No command waits for another: a hundred are at the server at the same time."""
    with client_of(server) as client:
        server.command("CLIENT", "PAUSE", LONG_MS, "WRITE")
        greenlets = [gevent.spawn(client.set, f"key{number}", b"x", LONG_MS) for number in range(100)]
        until(lambda: "blocked_clients:100" in server.command("INFO", "clients"), "a hundred blocked clients")
        server.command("CLIENT", "UNPAUSE")
        gevent.joinall(greenlets, raise_error=True)


def test_no_more_connections_are_kept_than_the_pool_has_room_for(server: RedisServer) -> None:
    """Without a backlog as many connections as needed are opened; the surplus is closed after use."""
    with client_of(server, keepalive_pool_size=3) as client:
        server.command("CLIENT", "PAUSE", LONG_MS, "WRITE")
        greenlets = [gevent.spawn(client.set, "key", b"x", LONG_MS) for _ in range(10)]
        until(lambda: "blocked_clients:10" in server.command("INFO", "clients"), "ten blocked clients")
        server.command("CLIENT", "UNPAUSE")
        gevent.joinall(greenlets, raise_error=True)
        until(lambda: connections_to(server) == 3, "the surplus to be closed")


def test_the_backlog_limits_who_waits(server: RedisServer) -> None:
    """With a backlog, connections are limited; so many wait, one more gets an error at once, and those get theirs."""
    with client_of(server, keepalive_pool_size=2, keepalive_backlog=3) as client:
        for _ in range(2):
            server.command("CLIENT", "PAUSE", LONG_MS, "WRITE")
            greenlets = [gevent.spawn(client.set, "key", b"x", LONG_MS) for _ in range(5)]
            until(lambda: "blocked_clients:2" in server.command("INFO", "clients"), "two blocked clients")
            with pytest.raises(MaxConnectionsError):
                client.get("key")
            assert connections_to(server) == 2
            server.command("CLIENT", "UNPAUSE")
            gevent.joinall(greenlets, raise_error=True)
            assert client.get("key") == b"x"


def test_the_wait_for_a_connection_ends(server: RedisServer) -> None:
    """Who waits for a connection gives up after the connect timeout."""
    with client_of(server, keepalive_pool_size=1, keepalive_backlog=9, connect_timeout_ms=SHORT_MS) as client:
        client.ping()
        server.freeze()
        greenlet = gevent.spawn(client.get, "key")
        gevent.sleep(0)
        started = time.monotonic()
        with pytest.raises(MaxConnectionsError):
            client.get("key")
        assert time.monotonic() - started < GENEROUS_S
        greenlet.kill()
        server.thaw()
        client.ping()


def test_close_leaves_no_connection_and_can_be_followed_by_more(server: RedisServer) -> None:
    """Closing ends idle connections now, those in use after use; the client can be used again."""
    with client_of(server) as client:
        client.ping()
        server.command("CLIENT", "PAUSE", LONG_MS, "WRITE")
        greenlet = gevent.spawn(client.set, "key", b"x", LONG_MS)
        until(lambda: "blocked_clients:1" in server.command("INFO", "clients"), "a blocked client")
        client.close()
        server.command("CLIENT", "UNPAUSE")
        greenlet.get()
        until(lambda: connections_to(server) == 0, "the connections to be closed")
        assert client.get("key") == b"x"


class Listening:
    """A server of gevent's on a free port: the port as a context."""

    def __init__(self, handle: Any) -> None:
        self._server = StreamServer(("127.0.0.1", 0), handle)

    def __enter__(self) -> int:
        self._server.start()
        return int(self._server.address[1])

    def __exit__(self, *_: object) -> None:
        self._server.stop(timeout=0)


def silent_server() -> Listening:
    return Listening(lambda _sock, _address: gevent.sleep(LONG_MS / 1000))


def takes_less_than(limit_s: float, client: RedisClient) -> bool:
    started = time.monotonic()
    with pytest.raises(RedisTimeoutError):
        client.get("key")
    return time.monotonic() - started < limit_s


def answers(client: RedisClient) -> bool:
    try:
        client.ping()
    except RedisTimeoutError:
        return False
    return True
