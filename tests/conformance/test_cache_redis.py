"""The Redis cache, seen from the callee and from Redis itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conformance.callee import BRIEFLY_S, Reply, reply_json
from tests.conformance.site import Site, callout
from tests.servers.redis_server import RedisServer, running

PREFIX = "request-callout:"
OWN_KEY = "kong.ctx.shared.callouts.a.caching.cache_key = 'mine'"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    """The server, empty."""
    server.command("FLUSHALL")
    return server


def cache(server: RedisServer, **fields: Any) -> dict[str, Any]:
    return {"strategy": "redis", "redis": {"host": "127.0.0.1", "port": server.port}, **fields}


def keys(server: RedisServer) -> list[str]:
    found: list[str] = server.command("KEYS", "*")
    return [key for key in found if ":lock:" not in key]


def asked(site: Site, path: str = "/a") -> int:
    return len(site.callee.received(path))


def test_hit_is_as_a_response(site: Site, redis: RedisServer) -> None:
    """A hit fills the context as a response would, with status, headers and body."""
    site.callee.on("/a", reply_json({"n": [1, None]}, 201, headers=(("X-Many", "a"), ("X-Many", "b"))))
    site.configure([callout("a", "/a", decode=True)], cache=cache(redis), witness=True)
    first, second = (site.context()["a"]["response"] for _ in range(2))
    assert asked(site) == 1
    assert (second["status"], second["headers"]["x-many"]) == (201, ["a", "b"])
    assert first == second


def test_a_body_that_is_no_text_comes_back_as_it_was(site: Site, redis: RedisServer) -> None:
    """Bytes that are no UTF-8 survive Redis."""
    site.callee.on("/a", Reply(body=b"\xff\x00\xfe"))
    script = "kong.response.exit(200, ngx.encode_base64(kong.ctx.shared.callouts.a.response.body))"
    site.configure([callout("a", "/a")], cache=cache(redis), upstream={"by_lua": script})
    assert [site.get().body for _ in range(2)] == [b"/wD+", b"/wD+"]
    assert asked(site) == 1


def test_key_and_time_to_live_in_redis(site: Site, redis: RedisServer) -> None:
    """A key of its own carries the prefix, and its time is Redis's own."""
    site.configure([callout("a", "/a", by_lua=OWN_KEY)], cache=cache(redis, cache_ttl=100))
    site.get()
    assert keys(redis) == [f"{PREFIX}mine"]
    assert 90_000 < redis.command("PTTL", f"{PREFIX}mine") <= 100_000


def test_another_configuration_finds_what_one_kept(site: Site, redis: RedisServer) -> None:
    """What is in Redis outlives a change of the configuration, as long as the request stays the same."""
    site.configure([callout("a", "/a")], cache=cache(redis))
    site.get()
    site.configure([callout("a", "/a"), callout("b", "/b")], cache=cache(redis))
    site.get()
    assert (asked(site, "/a"), asked(site, "/b")) == (1, 1)


def test_equal_misses_at_once_make_one_callout(site: Site, redis: RedisServer) -> None:
    """Equal requests that come at the same time to an empty Redis ask the callee once, and all get its answer."""
    site.callee.on("/a", Reply(200, b'{"id": 1}', hold=lambda: time.sleep(BRIEFLY_S)), reply_json({"id": 2}))
    site.configure([callout("a", "/a", decode=True)], cache=cache(redis), witness=True)
    with ThreadPoolExecutor(8) as clients:
        contexts = [future.result() for future in [clients.submit(site.context) for _ in range(8)]]
    assert [one["a"]["response"]["body"]["id"] for one in contexts] == [1] * 8
    assert asked(site) == 1


def test_a_redis_that_is_not_there_is_a_miss(site: Site) -> None:
    """Without Redis every request makes its callout, and none fails."""
    with running() as gone:
        pass
    site.configure([callout("a", "/a")], cache=cache(gone))
    assert [site.get().status for _ in range(3)] == [200] * 3
    assert asked(site) == 3


def test_nonsense_under_a_key_is_a_miss(site: Site, redis: RedisServer) -> None:
    """A value that can't be read is fetched anew and replaced."""
    redis.command("SET", f"{PREFIX}mine", "nonsense")
    site.configure([callout("a", "/a", by_lua=OWN_KEY)], cache=cache(redis))
    assert [site.get().status for _ in range(2)] == [200] * 2
    assert asked(site) == 1
