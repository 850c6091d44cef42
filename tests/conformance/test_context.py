"""``kong.ctx.shared.callouts.NAME``, as scripts and as plugins that run later see it."""

from __future__ import annotations

import pytest

from tests.conformance.callee import Reply, reply_json
from tests.conformance.site import Site, callout, function


def test_request_params(site: Site) -> None:
    """request.params has the request as it was sent: url, method, headers and the rest of the configuration."""
    site.configure([callout("a", "/a?x=1", method="post", headers={"custom": {"X-H": "$(headers.x_h)"}})], witness=True)
    params = site.context(headers={"X-H": "1"})["a"]["request"]["params"]
    assert params["url"].startswith(f"{site.callee.url}/a")
    assert params["method"] == "POST"
    assert params["headers"]["X-H"] == "1"
    assert params["ssl_verify"] is True


def test_response(site: Site) -> None:
    """Response has status, headers with lower-case names (repeated ones as lists), and the body."""
    site.callee.on("/a", Reply(201, b"text", (("X-One", "1"), ("X-Many", "a"), ("X-Many", "b"))))
    site.configure([callout("a", "/a")], witness=True)
    response = site.context()["a"]["response"]
    assert (response["status"], response["body"]) == (201, "text")
    assert (response["headers"]["x-one"], response["headers"]["x-many"]) == ("1", ["a", "b"])


def test_body_is_decoded(site: Site) -> None:
    """response.body is decoded with response.body.decode."""
    site.callee.on("/a", reply_json({"list": [1, {"x": "y"}]}))
    site.configure([callout("a", "/a", decode=True), callout("b", "/a")], witness=True)
    context = site.context()
    assert context["a"]["response"]["body"] == {"list": [1, {"x": "y"}]}
    assert context["b"]["response"]["body"] == '{"list": [1, {"x": "y"}]}'


@pytest.mark.parametrize("name", ["X-Some-Name", "x-some-name", "X-SOME-name"])
def test_response_headers_in_any_case(site: Site, name: str) -> None:
    """In Lua response.headers are looked up in any case."""
    site.callee.on("/a", Reply(200, b"", (("x-SOME-name", "value"),)))
    site.configure(
        [callout("a", "/a")],
        upstream={"by_lua": f'kong.response.exit(200, {{v = kong.ctx.shared.callouts.a.response.headers["{name}"]}})'},
    )
    assert site.get().json == {"v": "value"}


@pytest.mark.parametrize("part", ["headers", "body"])
def test_store_false_leaves_out(site: Site, part: str) -> None:
    """store: false leaves headers or body out for everything after response.by_lua, which still sees them."""
    script = f"kong.ctx.shared.seen = type(kong.ctx.shared.callouts.a.response.{part})"
    site.configure(
        [callout("a", "/a", response={part: {"store": False}, "by_lua": script})],
        upstream={
            "by_lua": f"kong.ctx.shared.after = type(kong.ctx.shared.callouts.a.response.{part})",
            "headers": {"custom": {"X-Expression": f"$(type(callouts.a.response.{part}))"}},
        },
        plugins=[
            function(
                "local s = kong.ctx.shared kong.response.exit(200, {seen = s.seen, after = s.after, "
                "expression = kong.request.get_header('X-Expression'), response = s.callouts.a.response})"
            )
        ],
    )
    told = site.get().json
    assert told["seen"] in ("table", "string")
    assert (told["after"], told["expression"]) == ("nil", "nil")
    assert part not in told["response"]
    assert told["response"]["status"] == 200


def test_response_script_customises(site: Site) -> None:
    """What response.by_lua makes of the response is what everything after it sees."""
    script = """
    local response = kong.ctx.shared.callouts.a.response
    response.body = { name = response.body.name .. "!" }
    response.status = 299
    response.headers["x-added"] = "1"
    """
    site.configure([callout("a", "/a", decode=True, response={"by_lua": script})], witness=True)
    response = site.context()["a"]["response"]
    assert (response["status"], response["body"], response["headers"]["x-added"]) == (299, {"name": "callee!"}, "1")


def test_caching_is_in_the_context(site: Site) -> None:
    """Caching is the configuration of the cache."""
    site.configure([callout("a", "/a")], cache={"strategy": "memory", "cache_ttl": 17}, witness=True)
    caching = site.context()["a"]["caching"]
    assert (caching["strategy"], caching["cache_ttl"]) == ("memory", 17)


def test_caching_is_changed_for_one_callout_only(site: Site) -> None:
    """A change of caching in a script holds for this callout and this request only."""
    script = "kong.ctx.shared.callouts.a.caching.cache_ttl = 5"
    site.configure(
        [callout("a", "/a", by_lua=script), callout("b", "/b")],
        cache={"strategy": "memory", "cache_ttl": 17},
        witness=True,
    )
    for _ in range(2):
        context = site.context()
        assert context["a"]["caching"]["cache_ttl"] == 5
        assert context["b"]["caching"]["cache_ttl"] == 17


def test_context_is_seen_by_later_plugins_of_this_request_only(site: Site) -> None:
    """Other plugins of the same request see the context once this plugin is done."""
    site.configure([callout("a", "/a", decode=True), callout("b", "/b", decode=True)], witness=True)
    for _ in range(2):
        assert sorted(site.context()) == ["a", "b"]


def test_null_members_are_left_out_or_null(site: Site) -> None:
    """Later plugins see a null member as absent on ProtoBuf; the rest of the object is unharmed."""
    site.callee.on("/a", reply_json({"nothing": None, "something": 1, "list": [1, None, 2]}))
    site.configure([callout("a", "/a", decode=True)], witness=True)
    body = site.context()["a"]["response"]["body"]
    assert body["something"] == 1
    assert body.get("nothing") is None
    assert "NULL_VALUE" not in str(body)


def test_large_body_is_not_shared(site: Site) -> None:
    """A body over 256 KiB (--share-max-bytes) is left out for other plugins; the callouts have it all the same."""
    site.callee.on("/a", Reply(200, b"x" * (300 * 1024)))
    site.configure(
        [callout("a", "/a")],
        upstream={"headers": {"custom": {"X-Length": "$(#callouts.a.response.body)"}}},
        plugins=[
            function(
                "kong.response.exit(200, {n = kong.request.get_header('X-Length'), "
                "response = kong.ctx.shared.callouts.a.response})"
            )
        ],
    )
    seen = site.get().json
    assert seen["n"] == str(300 * 1024)
    assert "body" not in seen["response"]
    assert seen["response"]["status"] == 200


def test_large_request_body_is_not_shared(site: Site) -> None:
    """The body of a callout's request is left out for other plugins too if it is that large."""
    site.configure([callout("a", "/a", method="POST", body={"forward": True})], witness=True)
    params = [
        site.request("POST", "", {"Content-Type": "text/x"}, b"x" * size).json["a"]["request"]["params"]
        for size in (1024, 300 * 1024)
    ]
    assert params[0]["body"] == "x" * 1024
    assert "body" not in params[1]
    assert len(site.callee.received()[1].body) == 300 * 1024
