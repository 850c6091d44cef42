"""The memory cache, seen from the callee: what it is not asked for came from the cache.

The cache is per worker process of the plugin server; these tests are for one worker.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conformance.callee import BRIEFLY_S, PATIENCE_S, Reply, reply_json
from tests.conformance.site import Site, callout

MEMORY = {"strategy": "memory"}


def asked(site: Site, path: str = "/a") -> int:
    return len(site.callee.received(path))


def key_script(key: str) -> dict[str, Any]:
    return {"by_lua": f"kong.ctx.shared.callouts.a.caching.cache_key = '{key}'"}


def test_off_by_default(site: Site) -> None:
    """Without a strategy nothing is cached."""
    site.configure([callout("a", "/a")])
    site.get()
    site.get()
    assert asked(site) == 2


def test_hit_is_as_a_response(site: Site) -> None:
    """A hit fills the context as a response would, with status, headers and body."""
    site.callee.on("/a", reply_json({"n": 1}, 201, headers=(("X-Many", "a"), ("X-Many", "b"))), reply_json({"n": 2}))
    site.configure([callout("a", "/a", decode=True)], cache=MEMORY, witness=True)
    first, second = (site.context()["a"]["response"] for _ in range(2))
    assert asked(site) == 1
    assert (second["status"], second["body"], second["headers"]["x-many"]) == (201, {"n": 1}, ["a", "b"])
    assert first == second


def test_bypass(site: Site) -> None:
    """cache.bypass of a callout neither looks up nor stores."""
    site.configure([callout("a", "/a", cache={"bypass": True}), callout("b", "/b")], cache=MEMORY)
    site.get()
    site.get()
    assert (asked(site, "/a"), asked(site, "/b")) == (2, 1)


@pytest.mark.parametrize("place", ["request", "response"])
def test_bypass_by_script(site: Site, place: str) -> None:
    """caching.bypass, set by a script, is honoured."""
    one = callout("a", "/a")
    one.setdefault(place, {})["by_lua"] = "kong.ctx.shared.callouts.a.caching.bypass = true"
    site.configure([one], cache=MEMORY)
    site.get()
    site.get()
    assert asked(site) == 2


def _expires(site: Site) -> bool:
    """Whether the callee is asked again within a few seconds."""
    site.get()
    deadline = time.monotonic() + PATIENCE_S
    while asked(site) == 1 and time.monotonic() < deadline:
        time.sleep(0.05)
        site.get()
    return asked(site) > 1


def test_ttl(site: Site) -> None:
    """An entry lives for cache_ttl seconds."""
    site.configure([callout("a", "/a")], cache={**MEMORY, "cache_ttl": 1})
    site.get()
    site.get()
    assert asked(site) == 1
    assert _expires(site)


def test_ttl_by_script(site: Site) -> None:
    """caching.cache_ttl, set by a script, is honoured."""
    script = {"by_lua": "kong.ctx.shared.callouts.a.caching.cache_ttl = 1"}
    site.configure([callout("a", "/a", response=script)], cache=MEMORY)
    assert _expires(site)


@pytest.mark.parametrize(
    ("request_", "first", "second"),
    [
        ({"query": {"forward": True}}, ("?x=1", {}), ("?x=2", {})),
        ({"headers": {"custom": {"X-H": "$(headers.x_h)"}}}, ("", {"X-H": "1"}), ("", {"X-H": "2"})),
        ({"body": {"custom": {"b": "$(headers.x_h)"}}}, ("", {"X-H": "1"}), ("", {"X-H": "2"})),
    ],
    ids=["query", "headers", "body"],
)
def test_key_has_the_request(
    site: Site, request_: dict[str, Any], first: tuple[str, dict[str, str]], second: tuple[str, dict[str, str]]
) -> None:
    """Query, headers and body are in the key: other values are another entry, the same ones a hit."""
    site.configure([callout("a", "/a", **request_)], cache=MEMORY)
    for path, headers in (first, second, first, second):
        site.get(path, headers)
    assert asked(site) == 2


def test_key_has_the_url(site: Site) -> None:
    """The URL is in the key."""
    site.configure([callout("a", f"{site.callee.url}/$(headers.x_path)")], cache=MEMORY)
    for path in ("one", "two", "one"):
        site.get(headers={"X-Path": path})
    assert (asked(site, "/one"), asked(site, "/two")) == (1, 1)


def test_key_has_the_method_and_the_name(site: Site) -> None:
    """The method and the callout's name are in the key: two callouts to one URL are two entries."""
    site.configure([callout("a", "/a"), callout("b", "/a"), callout("c", "/a", method="HEAD")], cache=MEMORY)
    site.get()
    site.get()
    assert asked(site) == 3


def test_key_is_independent_of_the_order(site: Site) -> None:
    """The query is sorted by name and a JSON body by key: the order makes no difference."""
    site.configure([callout("a", "/a", query={"forward": True})], cache=MEMORY)
    site.get("?x=1&y=2")
    site.get("?y=2&x=1")
    assert asked(site) == 1


def test_json_body_is_sorted_in_the_key(site: Site) -> None:
    """A JSON body is sorted by key, so other spacing and order are the same entry."""
    site.configure([callout("a", "/a", method="POST", body={"forward": True})], cache=MEMORY)
    for raw in (b'{"a":1,"b":[2]}', b'{ "b": [2], "a": 1 }', b'{"a":2,"b":[2]}'):
        site.request("POST", "", {"Content-Type": "application/json"}, raw)
    assert asked(site) == 2


def test_key_has_the_consumer(site: Site) -> None:
    """The consumer is in the key: what was fetched for one is not given to another."""
    consumers = [{"username": name, "keyauth_credentials": [{"key": f"key-{name}"}]} for name in ("ann", "bob")]
    site.configure([callout("a", "/a")], cache=MEMORY, plugins=[{"name": "key-auth"}], consumers=consumers)
    for name in ("ann", "bob", "ann"):
        assert site.get(headers={"apikey": f"key-{name}"}).status == 200
    assert asked(site) == 2


def test_key_has_the_route(site: Site) -> None:
    """The route is in the key: a plugin on the service caches for each of its routes."""
    other = {"name": f"other-{site.path[1:]}", "paths": [f"{site.path}-other"]}
    declaration = site.declaration([], routes=[other])
    declaration["services"][0]["plugins"] = [site.plugin([callout("a", "/a")], cache=MEMORY)]
    site.load(declaration)
    assert [site.get(path).status for path in ("", "-other", "", "-other")] == [200] * 4
    assert asked(site) == 2


def test_key_is_computed_after_the_request_script(site: Site) -> None:
    """The key is that of the request as request.by_lua left it."""
    script = 'kong.ctx.shared.callouts.a.request.params.headers["X-Trace"] = nil'
    headers = {"custom": {"X-Trace": "$(headers.x_trace)"}}
    site.configure([callout("a", "/a", headers=headers, by_lua=script)], cache=MEMORY)
    site.get(headers={"X-Trace": "1"})
    site.get(headers={"X-Trace": "2"})
    assert asked(site) == 1


def test_key_by_the_request_script(site: Site) -> None:
    """caching.cache_key, set in request.by_lua, replaces the key for the look-up and the store."""
    site.configure(
        [callout("a", "/a", query={"forward": True}, **key_script(f"key-{site.path}"))],
        cache=MEMORY,
    )
    site.get("?x=1")
    site.get("?x=2")
    assert asked(site) == 1


def test_key_by_the_response_script_is_for_the_store(site: Site) -> None:
    """caching.cache_key, set in response.by_lua alone, is where the response is stored, not where it is looked for."""
    key = key_script(f"key-{site.path}")
    looking = site.plugin([callout("a", "/a", **key)], cache=MEMORY)
    other = {"name": f"other-{site.path[1:]}", "paths": [f"{site.path}-other"], "plugins": [looking]}
    site.configure([callout("a", "/a", response=key)], cache=MEMORY, routes=[other])
    site.get()
    site.get()
    assert asked(site) == 2
    site.get("-other")
    assert asked(site) == 2


@pytest.mark.parametrize("on_error", ["fail", "continue"])
def test_errors_are_not_kept(site: Site, on_error: str) -> None:
    """A response that is an error is not kept."""
    site.callee.on("/a", Reply(503), reply_json({}))
    site.configure([callout("a", "/a", error={"http_statuses": [503], "on_error": on_error})], cache=MEMORY)
    site.get()
    site.get()
    assert asked(site) == 2


def test_body_is_kept_whatever_store_says(site: Site) -> None:
    """Status, headers and body are kept whatever store says: response.by_lua sees them on a hit too."""
    script = "kong.ctx.shared.seen = kong.ctx.shared.callouts.a.response.body.id"
    site.configure(
        [callout("a", "/a", response={"body": {"store": False, "decode": True}, "by_lua": script})],
        cache=MEMORY,
        upstream={"headers": {"custom": {"X-Seen": "$(shared.seen)"}}},
    )
    site.get()
    site.get()
    assert asked(site) == 1
    assert [request.header("X-Seen") for request in site.upstream.received()] == ["7", "7"]


def test_response_script_runs_once_on_what_was_received(site: Site) -> None:
    """response.by_lua runs on a hit too, on what was received: its changes are not kept."""
    script = "local r = kong.ctx.shared.callouts.a.response r.body.id = r.body.id + 1"
    site.configure([callout("a", "/a", decode=True, response={"by_lua": script})], cache=MEMORY, witness=True)
    assert [site.context()["a"]["response"]["body"]["id"] for _ in range(3)] == [8, 8, 8]
    assert asked(site) == 1


def test_changes_of_a_hit_are_not_kept(site: Site) -> None:
    """What later scripts do to the context of a hit does not reach the cache."""
    site.configure(
        [callout("a", "/a", decode=True)],
        cache=MEMORY,
        upstream={
            "by_lua": "local b = kong.ctx.shared.callouts.a.response.body b.id = b.id + 1 kong.response.exit(200, b)"
        },
    )
    assert [site.get().json["id"] for _ in range(3)] == [8, 8, 8]


def test_decode_is_done_on_a_hit(site: Site) -> None:
    """The body of a hit is decoded as that of a response."""
    site.configure(
        [callout("a", "/a", decode=True)],
        cache=MEMORY,
        upstream={"headers": {"custom": {"X-Id": "$(callouts.a.response.body.id)"}}},
    )
    site.get()
    site.get()
    assert [request.header("X-Id") for request in site.upstream.received()] == ["7", "7"]
    assert asked(site) == 1


def test_equal_requests_at_once_make_one_callout(site: Site) -> None:
    """Equal requests that come at the same time to an empty cache ask the callee once, and all get its answer."""
    site.callee.on("/a", Reply(200, b'{"id": 1}', hold=lambda: time.sleep(BRIEFLY_S)), reply_json({"id": 2}))
    site.configure([callout("a", "/a", decode=True)], cache=MEMORY, witness=True)
    with ThreadPoolExecutor(8) as clients:
        contexts = [future.result() for future in [clients.submit(site.context) for _ in range(8)]]
    assert [one["a"]["response"]["body"]["id"] for one in contexts] == [1] * 8
    assert asked(site) == 1


@pytest.mark.parametrize("on_error", ["fail", "continue"])
def test_an_error_of_one_callout_is_that_of_all_that_waited(site: Site, on_error: str) -> None:
    """Requests that waited for a callout that failed are answered by their error policy."""
    site.callee.on("/a", Reply(503, hold=lambda: time.sleep(BRIEFLY_S)), reply_json({}))
    policy = {"http_statuses": [503], "on_error": on_error, "error_response_code": 502}
    site.configure([callout("a", "/a", error=policy)], cache=MEMORY)
    with ThreadPoolExecutor(4) as clients:
        answers = [future.result() for future in [clients.submit(site.get) for _ in range(4)]]
    # One that came late found the callout over, and made its own.
    assert asked(site) < 4
    assert {answer.status for answer in answers} <= {502 if on_error == "fail" else 200, 200}


def test_status_is_seen_by_scripts(site: Site) -> None:
    """Scripts find in caching.status what the cache did."""
    script = "kong.ctx.shared.seen = kong.ctx.shared.callouts.a.caching.status"
    site.configure(
        [callout("a", "/a", response={"by_lua": script})],
        cache=MEMORY,
        upstream={"headers": {"custom": {"X-Seen": "$(shared.seen)"}}},
    )
    site.get()
    site.get()
    assert [request.header("X-Seen") for request in site.upstream.received()] == ["miss", "hit"]


def test_ttl_by_expression(site: Site) -> None:
    """The ttl of a callout is evaluated after the response; what it gives is how long the response is kept."""
    site.callee.on("/a", reply_json({"expires_in": 31}))
    ttl = "$(callouts.a.response.body.expires_in - 30)"
    site.configure([callout("a", "/a", decode=True, cache={"ttl": ttl})], cache=MEMORY)
    assert _expires(site)


def test_ttl_that_is_none_keeps_nothing(site: Site) -> None:
    """A ttl that gives no number keeps nothing, and fails nothing."""
    cache = {"ttl": "$(callouts.a.response.body.expires_in)"}
    site.configure([callout("a", "/a", decode=True, cache=cache)], cache=MEMORY)
    assert [site.get().status for _ in range(2)] == [200, 200]
    assert asked(site) == 2


def test_statuses(site: Site) -> None:
    """With statuses, responses of others are not kept."""
    site.callee.on("/a", Reply(404))
    site.callee.on("/b", Reply(404))
    site.configure(
        [callout("a", "/a", cache={"statuses": [200]}), callout("b", "/b", cache={"statuses": [200, 404]})],
        cache=MEMORY,
    )
    site.get()
    site.get()
    assert (asked(site, "/a"), asked(site, "/b")) == (2, 1)


@pytest.mark.parametrize("on_error", ["fail", "continue"])
def test_negative_ttl(site: Site, on_error: str) -> None:
    """With negative_ttl an error's response is kept, and is an error again for each request that finds it."""
    site.callee.on("/a", Reply(503))
    policy = {"http_statuses": [503], "on_error": on_error, "error_response_code": 502}
    site.configure([callout("a", "/a", error=policy, cache={"negative_ttl": 60})], cache=MEMORY)
    assert [site.get().status for _ in range(2)] == [502 if on_error == "fail" else 200] * 2
    assert asked(site) == 1


def test_stale_while_revalidate(site: Site) -> None:
    """Soon after its time a response is still used, while a new one is fetched, which later requests get."""
    site.callee.on("/a", reply_json({"id": 1}), reply_json({"id": 2}))
    cache = {"ttl": "0.2", "stale_while_revalidate": 600}
    site.configure([callout("a", "/a", decode=True, cache=cache)], cache=MEMORY, witness=True)
    ids = [site.context()["a"]["response"]["body"]["id"]]
    deadline = time.monotonic() + PATIENCE_S
    while ids[-1] == 1 and time.monotonic() < deadline:
        time.sleep(0.05)
        ids.append(site.context()["a"]["response"]["body"]["id"])
    assert ids[-1] == 2
    assert set(ids) == {1, 2}


def test_stale_if_error(site: Site) -> None:
    """After its time a response is still used if the callout fails."""
    site.callee.on("/a", reply_json({"id": 1}), Reply(503))
    cache = {"ttl": "0.2", "stale_if_error": 600}
    one = callout("a", "/a", decode=True, cache=cache, error={"http_statuses": [503]})
    site.configure([one], cache=MEMORY, witness=True)
    site.context()
    deadline = time.monotonic() + PATIENCE_S
    while asked(site) == 1 and time.monotonic() < deadline:
        time.sleep(0.05)
        context = site.context()["a"]
    assert context["caching"]["status"] == "stale"
    assert context["response"]["body"]["id"] == 1


def test_respect_cache_control(site: Site) -> None:
    """With respect_cache_control a response that forbids it is not kept; without it that is not looked at."""
    for path in ("/a", "/b"):
        site.callee.on(path, Reply(200, headers=(("Cache-Control", "no-store"),)))
    site.configure(
        [callout("a", "/a", cache={"respect_cache_control": True}), callout("b", "/b")],
        cache=MEMORY,
    )
    site.get()
    site.get()
    assert (asked(site, "/a"), asked(site, "/b")) == (2, 1)


def test_vary_on(site: Site) -> None:
    """Values of vary_on are part of the key."""
    site.configure([callout("a", "/a", cache={"vary_on": ["$(headers.x_tenant)"]})], cache=MEMORY)
    for tenant in ("1", "2", "1"):
        site.get(headers={"X-Tenant": tenant})
    assert asked(site) == 2
