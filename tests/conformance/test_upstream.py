"""What becomes of the request to the upstream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.callee import reply_json
from tests.conformance.site import UPSTREAM_BODY, Site, callout

JSON = "application/json"


def upstream(site: Site, **parts: Any) -> None:
    site.configure(upstream=parts)


def test_nothing_configured_nothing_touched(site: Site) -> None:
    """What stays as it is is not touched: target, headers and body arrive as without the plugin."""
    site.load(site.declaration([]))
    headers = [("X-Many", "a"), ("X-Many", "b"), ("Content-Type", "text/x"), ("Accept", "*/*")]
    target, body = "/a%2Fb?x=1&flag&x=%20", b"\x00raw\xff"
    site.request("POST", target, headers, body)
    site.configure([callout("a", "/a")])
    answer = site.request("POST", target, headers, body)
    without, with_ = site.upstream.received()
    volatile = {"x-kong-request-id"}
    assert answer.body == UPSTREAM_BODY
    assert (with_.method, with_.target, with_.body) == (without.method, without.target, without.body)
    assert [pair for pair in with_.headers if pair[0].lower() not in volatile] == [
        pair for pair in without.headers if pair[0].lower() not in volatile
    ]


def test_query_custom(site: Site) -> None:
    """query.custom sets parameters, and replaces the client's of the same name; the others stay."""
    upstream(site, query={"custom": {"x": "custom $(headers.x_h)", "new": "1"}})
    site.get("?x=1&x=2&keep=3", headers={"X-H": "&"})
    assert sorted(site.upstream.one().parameters) == [("keep", "3"), ("new", "1"), ("x", "custom &")]


def test_query_keeps_repeated_and_bare_parameters(site: Site) -> None:
    """Parameters that are not touched stay as they were, repeated and without a value too."""
    upstream(site, query={"custom": {"new": "1"}})
    site.get("?x=1&flag&x=2")
    got = site.upstream.one()
    assert [value for name, value in got.parameters if name == "x"] == ["1", "2"]
    assert "flag" in got.query.split("&")


def test_query_forward_false(site: Site) -> None:
    """query.forward: false drops the client's query."""
    upstream(site, query={"forward": False, "custom": {"new": "1"}})
    site.get("?x=1")
    assert site.upstream.one().query == "new=1"


def test_query_forward_false_alone(site: Site) -> None:
    """query.forward: false alone leaves no query."""
    upstream(site, query={"forward": False})
    site.get("?x=1")
    assert site.upstream.one().query == ""


def test_query_remove(site: Site) -> None:
    """query.remove removes the client's parameters, before custom sets."""
    upstream(site, query={"remove": ["x", "y"], "custom": {"y": "custom"}})
    site.get("?x=1&y=2&z=3")
    assert sorted(site.upstream.one().parameters) == [("y", "custom"), ("z", "3")]


def test_hundreds_of_headers(site: Site) -> None:
    """Expressions see, and changes reach, a header behind hundreds of others; the others stay."""
    many = [(f"X-{number}", str(number)) for number in range(300)]
    upstream(site, headers={"remove": ["X-298"], "custom": {"X-Seen": "$(headers.x_299)"}})
    site.get(headers=many)
    got = site.upstream.one()
    assert (got.header("X-Seen"), got.all("X-298")) == ("299", [])
    assert [got.header(name) for name, _ in many[:298]] == [value for _, value in many[:298]]


@pytest.mark.parametrize("headers", [{"forward": False}, {"custom": {"X-Seen": "$(headers.z_last)"}}])
def test_headers_that_kong_does_not_tell_of_are_refused(site: Site, headers: dict[str, Any]) -> None:
    """Kong tells of 1,000 headers and passes on what is behind them: nobody hides a header there from the plugin."""
    upstream(site, headers=headers)
    junk = [(f"J{number}", "1") for number in range(1000)]
    answer = site.get(headers=[*junk, ("Z-Last", "hidden")])
    assert (answer.status, answer.json) == (431, {"message": "the request has too many headers"})
    assert site.upstream.received() == []


def test_many_headers_pass_where_nobody_looks_at_them(site: Site) -> None:
    """A configuration that reads no headers passes on as many as Kong does."""
    upstream(site, headers={"custom": {"X-New": "1"}})
    assert site.get(headers=[(f"J{number}", "1") for number in range(1100)]).status == 200


def test_headers_custom(site: Site) -> None:
    """headers.custom sets headers, and replaces the client's in any case of the name."""
    upstream(site, headers={"custom": {"x-mine": "custom $(headers.x_mine)", "X-New": "1"}})
    site.get(headers={"X-MINE": "client", "X-Other": "2"})
    got = site.upstream.one()
    assert (got.all("X-Mine"), got.header("X-New"), got.header("X-Other")) == (["custom client"], "1", "2")


def test_headers_remove(site: Site) -> None:
    """headers.remove removes the client's headers in any case, before custom sets."""
    upstream(site, headers={"remove": ["x-gone", "X-SET"], "custom": {"X-Set": "custom"}})
    site.get(headers={"X-Gone": "1", "X-Set": "client", "X-Kept": "1"})
    got = site.upstream.one()
    assert (got.header("X-Gone"), got.all("X-Set"), got.header("X-Kept")) == (None, ["custom"], "1")


def test_headers_forward_false(site: Site) -> None:
    """headers.forward: false drops the client's headers, after the expressions have seen them."""
    upstream(site, headers={"forward": False, "custom": {"X-New": "was $(headers.x_client)"}})
    site.request("GET", "", {"X-Client": "1", "Authorization": "Bearer t", "Cookie": "a=b", "Accept": "text/x"})
    got = site.upstream.one()
    assert got.header("X-New") == "was 1"
    assert not {"x-client", "authorization", "cookie"} & got.names
    assert got.header("Accept") != "text/x"


def test_headers_forward_false_and_the_body(site: Site) -> None:
    """With headers.forward: false the Host is the upstream's and the body arrives whole."""
    upstream(site, headers={"forward": False})
    body = b"x" * 1000
    answer = site.request("POST", "", {"Host": "client.example", "Content-Type": "text/x"}, body)
    assert answer.status == 200
    got = site.upstream.one()
    assert got.all("Host") == [f"127.0.0.1:{site.upstream.port}"]
    assert got.body == body
    assert got.header("Content-Type") != "text/x"


def test_host_of_the_upstream(site: Site) -> None:
    """A Host in headers.custom is what the upstream gets."""
    upstream(site, headers={"custom": {"Host": "other.example"}})
    site.get()
    assert site.upstream.one().all("Host") == ["other.example"]


def test_body_custom(site: Site) -> None:
    """body.custom is merged over the client's object (decode and forward are true by default)."""
    upstream(site, body={"custom": {"b": "custom $(headers.x_h)"}})
    body = json.dumps({"a": [1, None], "b": "client"}).encode()
    site.request("POST", "", {"Content-Type": JSON, "X-H": "1"}, body)
    got = site.upstream.one()
    assert got.json == {"a": [1, None], "b": "custom 1"}
    assert got.all("Content-Type") == [JSON]
    assert got.all("Content-Length") == [str(len(got.body))]


def test_body_custom_on_an_empty_body(site: Site) -> None:
    """An empty client body counts as {}, and the content type is JSON's."""
    upstream(site, body={"custom": {"b": "custom"}})
    site.request("POST")
    got = site.upstream.one()
    assert got.json == {"b": "custom"}
    assert got.all("Content-Type") == [JSON]


@pytest.mark.parametrize("parts", [{"forward": False}, {"decode": False}], ids=["forward", "decode"])
def test_body_custom_without_the_clients(site: Site, parts: dict[str, bool]) -> None:
    """Without forward or decode custom is merged over an empty object."""
    upstream(site, body={"custom": {"b": "custom"}, **parts})
    site.post_json({"a": 1})
    assert site.upstream.one().json == {"b": "custom"}


def test_body_forward_false(site: Site) -> None:
    """body.forward: false drops the client's body."""
    upstream(site, body={"forward": False})
    site.request("POST", "", {"Content-Type": "text/x"}, b"client")
    got = site.upstream.one()
    assert got.body == b""
    assert got.header("Content-Length") in (None, "0")


def test_body_remove(site: Site) -> None:
    """body.remove removes members, before custom sets."""
    upstream(site, body={"remove": ["a", "b"], "custom": {"b": "custom"}})
    site.post_json({"a": 1, "b": 2, "c": 3})
    assert site.upstream.one().json == {"b": "custom", "c": 3}


def test_body_typed(site: Site) -> None:
    """With body.typed an expression alone keeps its type."""
    site.callee.on("/a", reply_json({"deep": {"list": [], "nothing": None}, "n": 3}))
    site.configure(
        [callout("a", "/a", decode=True)],
        upstream={"body": {"typed": True, "custom": {"deep": "$(callouts.a.response.body.deep)", "n": "$(1 + 1)"}}},
    )
    site.post_json({})
    assert site.upstream.one().json == {"deep": {"list": [], "nothing": None}, "n": 2}


@pytest.mark.parametrize("raw", [b"no json", b"[1]", b"null"])
def test_body_that_is_no_object_is_400(site: Site, raw: bytes) -> None:
    """A client body that is no JSON object where it has to be merged: 400 with a message."""
    upstream(site, body={"custom": {"b": "custom"}})
    answer = site.request("POST", "", {"Content-Type": JSON}, raw)
    assert answer.status == 400
    assert answer.body
    assert not site.upstream.received()


@pytest.mark.parametrize("raw", [b"no json", b"\x00\xff", b'{"b" :  1}'])
def test_empty_custom_leaves_the_body_untouched(site: Site, raw: bytes) -> None:
    """An empty custom leaves a forwarded body as it is, byte for byte, JSON or not."""
    site.configure(upstream={"body": {"custom": {}}})
    site.request("POST", "", {"Content-Type": JSON}, raw)
    assert site.upstream.one().body == raw


def test_callouts_feed_the_upstream(site: Site) -> None:
    """Query, headers and body may be made of what the callouts answered."""
    value = "$(callouts.a.response.body.name)"
    site.configure(
        [callout("a", "/a", decode=True)],
        upstream={
            "query": {"custom": {"q": value}},
            "headers": {"custom": {"X-H": value}},
            "body": {"custom": {"b": value}},
        },
    )
    site.post_json({})
    got = site.upstream.one()
    assert (got.query, got.header("X-H"), got.json) == ("q=callee", "callee", {"b": "callee"})


def test_script_runs_last(site: Site) -> None:
    """upstream.by_lua runs after query, headers and body were set, and has the last word."""
    script = """
    local seen = kong.request.get_header("X-H")
    kong.service.request.set_header("X-H", seen .. " and script")
    kong.service.request.set_raw_query("q=script")
    """
    upstream(site, headers={"custom": {"X-H": "custom"}}, query={"custom": {"q": "custom"}}, by_lua=script)
    site.get()
    got = site.upstream.one()
    assert (got.header("X-H"), got.query) == ("custom and script", "q=script")


def test_script_answers_itself(site: Site) -> None:
    """kong.response.exit in upstream.by_lua answers the client; the upstream is not called."""
    upstream(site, by_lua='kong.response.exit(203, "done")')
    answer = site.get()
    assert (answer.status, answer.text) == (203, "done")
    assert not site.upstream.received()


def test_answer_of_the_upstream_is_untouched(site: Site) -> None:
    """The upstream's answer reaches the client as it is."""
    site.upstream.on("/up", reply_json(None, 418, headers=(("X-Many", "a"), ("X-Many", "b"))))
    site.configure([callout("a", "/a")])
    answer = site.get()
    assert (answer.status, answer.body) == (418, b"null")
    assert answer.all("X-Many") == ["a", "b"]
