"""How the body of a callout's request is built."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.callee import reply_json
from tests.conformance.site import Site, callout

JSON = "application/json"


def body(**parts: Any) -> dict[str, Any]:
    """A POST to the callee with this ``request.body``."""
    return callout("a", "/a", method="POST", body=parts)


def test_forwarded_body_is_sent_as_it_came(site: Site) -> None:
    """body.forward sends the client's bytes and their Content-Type."""
    site.configure([body(forward=True)])
    raw = b'{"b" : 1,\n "a":"\xc3\xa4\x00\xff"}'
    site.request("POST", "", {"Content-Type": "application/x-thing"}, raw)
    got = site.callee.one()
    assert (got.body, got.all("Content-Type")) == (raw, ["application/x-thing"])


def test_forwarded_body_with_a_content_type_of_its_own(site: Site) -> None:
    """A Content-Type that is set in headers.custom is kept beside a forwarded body."""
    site.configure(
        [callout("a", "/a", method="POST", body={"forward": True}, headers={"custom": {"content-type": "text/x-mine"}})]
    )
    site.request("POST", "", {"Content-Type": "text/plain"}, b"raw")
    got = site.callee.one()
    assert (got.body, got.all("Content-Type")) == (b"raw", ["text/x-mine"])


def test_custom_body_alone(site: Site) -> None:
    """body.custom makes a JSON object, with Content-Type: application/json."""
    site.configure([body(custom={"grant": "x", "who": "$(headers.x_who)"})])
    site.request("POST", "", {"X-Who": 'a "quoted" one', "Content-Type": "text/plain"}, b"client")
    got = site.callee.one()
    assert got.json == {"grant": "x", "who": 'a "quoted" one'}
    assert got.all("Content-Type") == [JSON]


def test_custom_is_merged_over_a_forwarded_and_decoded_body(site: Site) -> None:
    """With forward and decode, custom is merged over the client's object."""
    site.configure([body(forward=True, decode=True, custom={"b": "custom"})])
    site.post_json({"a": {"deep": [1, None]}, "b": "client"})
    assert site.callee.one().json == {"a": {"deep": [1, None]}, "b": "custom"}


@pytest.mark.parametrize("parts", [{"forward": True}, {"decode": True}], ids=["forward", "decode"])
def test_custom_without_both_starts_from_an_empty_object(site: Site, parts: dict[str, bool]) -> None:
    """Unless forward and decode are both true, custom is merged over an empty object."""
    site.configure([body(custom={"b": "custom"}, **parts)])
    site.post_json({"a": 1})
    assert site.callee.one().json == {"b": "custom"}


def test_empty_client_body_counts_as_empty_object(site: Site) -> None:
    """An empty body of the client is an empty JSON object where custom is merged over it."""
    site.configure([body(forward=True, decode=True, custom={"b": "custom"})])
    assert site.request("POST").status == 200
    got = site.callee.one()
    assert got.json == {"b": "custom"}
    assert got.all("Content-Type") == [JSON]


@pytest.mark.parametrize("sent", ["application/json", "application/json; charset=utf-8", "text/plain"])
def test_content_type_is_never_doubled(site: Site, sent: str) -> None:
    """Beside forwarded headers there is one Content-Type, and it is JSON's."""
    site.configure(
        [
            callout(
                "a",
                "/a",
                method="POST",
                headers={"forward": True},
                body={"forward": True, "decode": True, "custom": {"x": "1"}},
            )
        ]
    )
    site.post_json({}, content_type=sent)
    types = site.callee.one().all("Content-Type")
    assert len(types) == 1
    assert types[0].startswith(JSON)


@pytest.mark.parametrize("raw", [b"[1]", b'"text"', b"no json", b"12", b"null"])
def test_client_body_that_is_no_object_is_400(site: Site, raw: bytes) -> None:
    """A client body that is no JSON object where it has to be merged: 400 with a message, nothing sent."""
    site.configure([body(forward=True, decode=True, custom={"b": "custom"})])
    answer = site.request("POST", "", {"Content-Type": JSON}, raw)
    assert answer.status == 400
    assert answer.body
    assert not site.callee.received()
    assert not site.upstream.received()


def test_remove_takes_members_away(site: Site) -> None:
    """body.remove removes members of the forwarded object, before custom sets."""
    site.configure([body(forward=True, decode=True, remove=["a", "b"], custom={"b": "custom"})])
    site.post_json({"a": 1, "b": 2, "c": 3})
    assert site.callee.one().json == {"b": "custom", "c": 3}


def test_remove_alone(site: Site) -> None:
    """body.remove works without custom."""
    site.configure([body(forward=True, decode=True, remove=["a"])])
    site.post_json({"a": 1, "c": 3})
    assert site.callee.one().json == {"c": 3}


def test_custom_values_are_strings(site: Site) -> None:
    """Values of custom in a body are strings, also those of expressions."""
    site.configure([body(custom={"n": "$(1 + 1)", "b": "$(1 == 1)", "t": "5", "nothing": "$(nil)"})])
    site.get()
    assert site.callee.one().json == {"n": "2", "b": "true", "t": "5", "nothing": ""}


def test_typed_values_keep_their_types(site: Site) -> None:
    """With typed a value that is one expression alone keeps its type: number, boolean, table, null."""
    custom = {
        "n": "$(1 + 1)",
        "f": "$(1.5)",
        "b": "$(1 == 1)",
        "no": "$(1 == 2)",
        "list": '$({1, "two"})',
        "object": "$({x = {y = 1}})",
        "null": "$(ngx.null)",
        "s": "$('text')",
        "mixed": "n=$(1 + 1)",
        "plain": "5",
    }
    site.configure([body(typed=True, custom=custom)])
    site.get()
    assert site.callee.one().json == {
        "n": 2,
        "f": 1.5,
        "b": True,
        "no": False,
        "list": [1, "two"],
        "object": {"x": {"y": 1}},
        "null": None,
        "s": "text",
        "mixed": "n=2",
        "plain": "5",
    }


def test_typed_hands_on_what_was_decoded(site: Site) -> None:
    """A decoded response handed on with typed keeps null, empty arrays and empty objects."""
    value: dict[str, Any] = {"null": None, "empty": [], "object": {}, "list": [None, 1]}
    site.callee.on("/first", reply_json(value))
    site.configure(
        [
            callout("first", "/first", decode=True),
            callout("a", "/a", method="POST", body={"typed": True, "custom": {"v": "$(callouts.first.response.body)"}}),
        ]
    )
    site.get()
    assert site.callee.one("/a").json == {"v": value}


def test_request_script_may_change_everything(site: Site) -> None:
    """What request.by_lua leaves in request.params is what is sent."""
    site.configure(
        [
            callout(
                "a",
                "/a",
                query={"custom": {"old": "1"}},
                headers={"custom": {"X-Old": "1"}},
                by_lua=f"""
                local params = kong.ctx.shared.callouts.a.request.params
                params.url = "{site.callee.url}/changed"
                params.method = "PUT"
                params.query = {{ new = "2" }}
                params.headers["X-Old"] = nil
                params.headers["X-New"] = "2"
                params.body = "plain text"
                """,
            )
        ]
    )
    site.get()
    got = site.callee.one()
    assert (got.method, got.target, got.body) == ("PUT", "/changed?new=2", b"plain text")
    assert (got.header("X-Old"), got.header("X-New")) == (None, "2")


def test_request_script_sees_what_was_built(site: Site) -> None:
    """request.by_lua sees url, method, query, headers and body with their expressions replaced."""
    site.configure(
        [
            callout(
                "a",
                "/a",
                method="post",
                query={"custom": {"q": "$(headers.x_who)"}},
                headers={"custom": {"X-Built": "$(headers.x_who)"}},
                body={"custom": {"b": "$(headers.x_who)"}},
                by_lua="""
                local p = kong.ctx.shared.callouts.a.request.params
                local body = type(p.body) == "table" and p.body.b or p.body
                local seen = {p.method, p.url, tostring(p.query.q), p.headers["X-Built"], body}
                kong.ctx.shared.seen = table.concat(seen, " ")
                """,
            )
        ],
        upstream={"headers": {"custom": {"X-Seen": "$(shared.seen)"}}},
    )
    site.get(headers={"X-Who": "me"})
    seen = site.upstream.one().header("X-Seen") or ""
    assert seen.startswith(f"POST {site.callee.url}/a")
    assert seen.count("me") >= 3


def test_request_script_may_give_the_query_as_a_string(site: Site) -> None:
    """params.query may be a string: it is sent as it stands."""
    script = 'kong.ctx.shared.callouts.a.request.params.query = "b=2&a=1&flag"'
    site.configure([callout("a", "/a", by_lua=script)])
    site.get()
    assert site.callee.one().target == "/a?b=2&a=1&flag"


def test_request_script_may_give_a_table_as_body(site: Site) -> None:
    """params.body may be a table: it is sent as JSON."""
    script = 'kong.ctx.shared.callouts.a.request.params.body = { x = { 1, 2 }, y = "z" }'
    site.configure([callout("a", "/a", method="POST", by_lua=script)])
    site.get()
    assert site.callee.one().json == {"x": [1, 2], "y": "z"}


def test_form_body_by_script(site: Site) -> None:
    """A form is made with params.body = ngx.encode_args({...})."""
    script = 'kong.ctx.shared.callouts.a.request.params.body = ngx.encode_args({ grant = "a b&c" })'
    headers = {"custom": {"Content-Type": "application/x-www-form-urlencoded"}}
    site.configure([callout("a", "/a", method="POST", headers=headers, by_lua=script)])
    site.get()
    got = site.callee.one()
    assert (got.body, got.all("Content-Type")) == (b"grant=a%20b%26c", ["application/x-www-form-urlencoded"])
