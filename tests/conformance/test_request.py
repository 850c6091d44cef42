"""How a callout's request is built: URL, method, query, headers."""

from __future__ import annotations

import pytest

from tests.conformance.callee import Callee, reply_json
from tests.conformance.site import Site, callout

HOP_BY_HOP = {
    "Keep-Alive": "timeout=5",
    "Proxy-Authorization": "Basic eDp5",
    "Proxy-Connection": "keep-alive",
    "TE": "trailers",
    "Trailer": "X-After",
}


def test_url_may_hold_expressions(site: Site) -> None:
    """The url may hold expressions, in any part."""
    site.configure([callout("a", f"{site.callee.url}/users/$(query_params.id)?as=$(headers.x_as)")])
    site.get("?id=42", headers={"X-As": "json"})
    assert site.callee.one().target == "/users/42?as=json"


@pytest.mark.embedded("the variable has to be in the gateway's environment")
def test_vault_references_arrive_resolved(site: Site) -> None:
    """References to a vault, in headers, query and body (and in the URL: the token example), arrive resolved."""
    secret = "{vault://env/conformance-secret}"
    site.configure(
        [
            callout(
                "b",
                "/b",
                headers={"custom": {"X-Secret": secret}},
                query={"custom": {"secret": secret}},
                body={"custom": {"secret": secret}},
            ),
        ]
    )
    site.get()
    got = site.callee.one("/b")
    assert (got.header("X-Secret"), got.parameters, got.json) == (
        "s3cr3t",
        [("secret", "s3cr3t")],
        {"secret": "s3cr3t"},
    )


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/x", "/relative", "http://", "http://127.0.0.1:99999/", "$(headers.none)"]
)
def test_url_that_is_none_is_500(site: Site, url: str) -> None:
    """A url that turns out to be no valid http(s) URL: the client gets 500, and nothing is sent."""
    site.configure([callout("a", f"$('{url}')" if "$" not in url else url)])
    answer = site.get()
    assert (answer.status, answer.json["message"]) == (500, "Internal Server Error")
    assert not site.upstream.received()


def test_method_defaults_to_get(site: Site) -> None:
    """Without method it is GET."""
    site.configure([callout("a", "/a")])
    site.get()
    assert site.callee.one().method == "GET"


@pytest.mark.parametrize(("method", "sent"), [("POST", "POST"), ("put", "PUT"), ("Report", "REPORT"), ("X-1!", "X-1!")])
def test_method_is_any_token_in_upper_case(site: Site, method: str, sent: str) -> None:
    """The method is any token, sent in upper case."""
    site.configure([callout("a", "/a", method=method)])
    assert site.get().status == 200
    assert site.callee.one().method == sent


def test_client_query_is_not_forwarded_by_default(site: Site) -> None:
    """Neither query nor headers nor body of the client go to the callee unless forward is set."""
    site.configure([callout("a", "/a", method="POST")])
    site.request("POST", "?x=1", {"X-Client": "1", "Content-Type": "text/plain"}, b"body")
    got = site.callee.one()
    assert (got.target, got.header("X-Client"), got.body) == ("/a", None, b"")


def test_query_forward_adds_the_clients_parameters(site: Site) -> None:
    """With query.forward the client's parameters are added to those of the URL."""
    site.configure([callout("a", "/a?own=1", query={"forward": True})])
    site.get("?x=2&y=3")
    assert sorted(site.callee.one().parameters) == [("own", "1"), ("x", "2"), ("y", "3")]


def test_forwarded_query_keeps_repeated_and_bare_parameters(site: Site) -> None:
    """Repeated parameters and parameters without a value survive forwarding."""
    site.configure([callout("a", "/a", query={"forward": True})])
    site.get("?x=1&flag&x=2&empty=")
    got = site.callee.one()
    assert [value for name, value in got.parameters if name == "x"] == ["1", "2"]
    parts = got.query.split("&")
    assert "flag" in parts
    assert "empty=" in parts


def test_forwarded_query_keeps_special_characters(site: Site) -> None:
    """Characters that are special in a query arrive as they were meant."""
    site.configure([callout("a", "/a", query={"forward": True})])
    site.get("?q=a%26b%3Dc%2Bd%20e%C3%A4")
    assert site.callee.one().parameters == [("q", "a&b=c+d eä")]


def test_query_custom_sets(site: Site) -> None:
    """query.custom sets parameters, with expressions in their values, encoded as needed."""
    site.configure([callout("a", "/a", query={"custom": {"who": "$(headers.x_who)", "c": "1"}})])
    site.get(headers={"X-Who": "a&b=c d"})
    assert sorted(site.callee.one().parameters) == [("c", "1"), ("who", "a&b=c d")]


def test_query_custom_replaces_in_url_and_forwarded(site: Site) -> None:
    """A parameter in query.custom replaces the one of the same name in the URL and the forwarded one."""
    query = {"forward": True, "custom": {"x": "custom", "y": "custom"}}
    site.configure([callout("a", "/a?x=url&keep=1", query=query)])
    site.get("?y=client&y=client2&z=client")
    assert sorted(site.callee.one().parameters) == [("keep", "1"), ("x", "custom"), ("y", "custom"), ("z", "client")]


def test_query_remove(site: Site) -> None:
    """query.remove removes parameters of the URL and forwarded ones, before custom sets."""
    query = {"forward": True, "remove": ["x", "y", "z"], "custom": {"z": "custom"}}
    site.configure([callout("a", "/a?x=url&keep=1", query=query)])
    site.get("?y=client&z=client&w=client")
    assert sorted(site.callee.one().parameters) == [("keep", "1"), ("w", "client"), ("z", "custom")]


def test_headers_forward_copies_the_clients(site: Site) -> None:
    """headers.forward copies the client's headers, repeated ones too."""
    site.configure([callout("a", "/a", headers={"forward": True})])
    site.get(
        headers=[("X-One", "1"), ("X-Many", "a"), ("X-Many", "b"), ("Authorization", "Bearer t"), ("Cookie", "c=1")]
    )
    got = site.callee.one()
    assert (got.header("X-One"), got.header("Authorization"), got.header("Cookie")) == ("1", "Bearer t", "c=1")
    assert ", ".join(got.all("X-Many")) == "a, b"


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_headers_are_not_forwarded(site: Site, name: str) -> None:
    """Keep-Alive, Proxy-*, TE and Trailer are not forwarded."""
    site.configure([callout("a", "/a", headers={"forward": True})])
    site.get(headers={name: HOP_BY_HOP[name], "X-Other": "1"})
    got = site.callee.one()
    assert got.header("X-Other") == "1"
    assert got.header(name) is None


def test_connection_and_what_it_names_are_not_forwarded(site: Site) -> None:
    """Connection is not forwarded, nor are Upgrade and the headers that Connection names."""
    site.configure([callout("a", "/a", headers={"forward": True})])
    site.get(headers={"Connection": "X-Named, Upgrade", "X-Named": "1", "Upgrade": "h2c", "X-Other": "1"})
    got = site.callee.one()
    assert got.header("X-Other") == "1"
    assert not {"x-named", "upgrade"} & got.names
    assert "x-named" not in (got.header("Connection") or "").lower()


def test_host_and_lengths_are_not_forwarded(site: Site) -> None:
    """Host, Content-Length and Transfer-Encoding are those of the callout, not the client's."""
    site.configure([callout("a", "/a", method="POST", headers={"forward": True})])
    chunked = b"5\r\nhello\r\n0\r\n\r\n"
    site.request("POST", "", {"Host": "client.example", "Transfer-Encoding": "chunked"}, chunked)
    got = site.callee.one()
    assert got.header("Host") == f"127.0.0.1:{site.callee.port}"
    assert got.header("Transfer-Encoding") is None
    assert got.header("Content-Length") in (None, "0")


def test_accept_encoding_is_not_forwarded(site: Site) -> None:
    """Accept-Encoding is not forwarded unless the plugin can decode what it asks for."""
    site.configure([callout("a", "/a", headers={"forward": True})])
    site.get(headers={"Accept-Encoding": "x-nobody-decodes-this"})
    assert "x-nobody" not in (site.callee.one().header("Accept-Encoding") or "")


def test_headers_custom_replaces_forwarded_in_any_case(site: Site) -> None:
    """headers.custom sets, and replaces a forwarded header whatever the case of its name."""
    headers = {"forward": True, "custom": {"x-MINE": "custom $(headers.x_mine)"}}
    site.configure([callout("a", "/a", headers=headers)])
    site.get(headers={"X-Mine": "client"})
    assert site.callee.one().all("X-Mine") == ["custom client"]


def test_custom_host_is_honoured(site: Site) -> None:
    """A custom Host is sent instead of the URL's, once."""
    site.configure([callout("a", "/a", headers={"custom": {"Host": "other.example"}})])
    site.get()
    assert site.callee.one().all("Host") == ["other.example"]


def test_headers_remove(site: Site) -> None:
    """headers.remove removes forwarded headers in any case, before custom sets."""
    headers = {"forward": True, "remove": ["x-gone", "X-SET"], "custom": {"X-Set": "custom"}}
    site.configure([callout("a", "/a", headers=headers)])
    site.get(headers={"X-Gone": "1", "X-Set": "client", "X-Kept": "1"})
    got = site.callee.one()
    assert (got.header("X-Gone"), got.all("X-Set"), got.header("X-Kept")) == (None, ["custom"], "1")


def test_user_agent(site: Site) -> None:
    """User-Agent is kong/request-callout (with the version if it is known) when none is set."""
    site.configure([callout("a", "/a")])
    site.get(headers={"User-Agent": "client/1"})
    agent = site.callee.one().header("User-Agent") or ""
    assert agent.startswith("kong/")
    assert agent.endswith("request-callout")
    if site.gateway.embedded:
        assert agent == "kong/request-callout"


@pytest.mark.parametrize(
    ("headers", "sent"),
    [({"forward": True}, "client/1"), ({"custom": {"User-Agent": "mine/2"}}, "mine/2")],
    ids=["forwarded", "custom"],
)
def test_user_agent_that_is_set(site: Site, headers: dict[str, object], sent: str) -> None:
    """A User-Agent that is forwarded or custom is kept."""
    site.configure([callout("a", "/a", headers=headers)])
    site.get(headers={"User-Agent": "client/1"})
    assert site.callee.one().all("User-Agent") == [sent]


@pytest.mark.parametrize(
    "request_",
    [{"query": {"custom": {"x": None}}}, {"headers": {"custom": {"x": None}}}, {"body": {"custom": {"x": None}}}],
    ids=["query", "headers", "body"],
)
def test_null_in_custom_is_refused(site: Site, request_: dict[str, object]) -> None:
    """An explicit null in custom is refused by the schema that open-source Kong gets; remove stands in for it."""
    declared = callout("a", "/a")
    declared["request"].update(request_)
    site.refused([declared])


def test_values_of_a_redirect_are_not_followed(site: Site) -> None:
    """Redirects are not followed: the answer of a redirect is the response."""
    site.callee.on("/a", reply_json({}, 302, headers=(("Location", f"{site.callee.url}/b"),)))
    site.configure(
        [callout("a", "/a")], upstream={"headers": {"custom": {"X-Status": "$(callouts.a.response.status)"}}}
    )
    site.get()
    assert site.upstream.one().header("X-Status") == "302"
    assert not site.callee.received("/b")


def test_body_of_a_get_is_absent(site: Site, callee: Callee) -> None:
    """A callout without a body sends none, and no Content-Type."""
    site.configure([callout("a", "/a")])
    site.get()
    got = callee.one()
    assert got.body == b""
    assert got.header("Content-Type") is None


@pytest.mark.parametrize(
    "request_", [{"method": "GE T"}, {"url": "ftp://127.0.0.1/"}, {"url": "no url"}], ids=["method", "scheme", "no URL"]
)
def test_constant_that_cannot_be_sent_is_unusable(site: Site, request_: dict[str, str]) -> None:
    """A method that is no token, or a constant url that is none, makes the configuration unusable."""
    one = callout("a", "/a")
    one["request"].update(request_)
    text = site.unusable([one])
    assert not site.gateway.embedded or f"callouts[1].request.{next(iter(request_))}" in text


def test_script_that_leaves_no_url_is_500(site: Site) -> None:
    """A url that a script leaves and that is none: 500, and nothing is sent."""
    site.configure([callout("a", "/a", by_lua='kong.ctx.shared.callouts.a.request.params.url = "nowhere"')])
    answer = site.get()
    assert (answer.status, answer.json["message"]) == (500, "Internal Server Error")
    assert not site.upstream.received()
