"""request.auth: Basic, Bearer, and tokens of OAuth 2.0."""

from __future__ import annotations

import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme

from tests.conformance.callee import PATIENCE_S, Callee, Received, Reply, reply_json
from tests.conformance.site import Site, callout

BASIC = {"type": "basic", "username": "ann", "password": "pass:wörd"}
SECRET = "s3cr3t&:+ü"


@pytest.fixture
def tokens() -> Iterator[Callee]:
    """A token server that gives ``t1``, ``t2``, ..."""
    server = Callee(Reply(404))
    numbers = iter(range(1, 1000))
    lock = threading.Lock()

    def answer(_: Received) -> Reply:
        with lock:
            number = next(numbers)
        return reply_json({"access_token": f"t{number}", "token_type": "Bearer", "expires_in": 3600})

    server.on("/token", answer)
    yield server
    server.close()


def oauth(tokens: Callee, **more: Any) -> dict[str, Any]:
    client = {"client_id": "gate:way", "client_secret": SECRET}
    return {"type": "oauth2_client_credentials", "token_url": f"{tokens.url}/token", **client, **more}


def sent(site: Site) -> list[str | None]:
    return [request.header("Authorization") for request in site.callee.received()]


def test_basic(site: Site) -> None:
    """The credentials are sent as RFC 7617 says, in UTF-8."""
    site.configure([callout("a", "/a", auth=BASIC)])
    assert site.get().status == 200
    assert sent(site) == ["Basic " + b64encode("ann:pass:wörd".encode()).decode()]


def test_bearer(site: Site) -> None:
    """The token is sent as RFC 6750 says; it may hold expressions."""
    site.configure([callout("a", "/a", auth={"type": "bearer", "token": "x.$(headers['x-token'])"})])
    assert site.get(headers={"X-Token": "abc=="}).status == 200
    assert sent(site) == ["Bearer x.abc=="]


def test_a_token_of_another_callout(site: Site) -> None:
    """An expression in auth that names a callout waits for it."""
    first = callout("a", "/a", decode=True)
    site.configure([first, callout("b", "/b", auth={"type": "bearer", "token": "n-$(callouts.a.response.body.name)"})])
    assert site.get().status == 200
    assert site.callee.one("/b").header("Authorization") == "Bearer n-callee"


def test_what_is_no_token_is_an_internal_error(site: Site) -> None:
    """A client can't write a header of its own with it: 500, and nothing is sent."""
    site.configure([callout("a", "/a", auth={"type": "bearer", "token": "$(headers['x-token'])"})])
    assert site.get(headers={"X-Token": "a, b"}).status == 500
    assert not site.callee.received()


def test_auth_wins_over_a_forwarded_header(site: Site) -> None:
    """The client's Authorization does not reach the callee."""
    site.configure([callout("a", "/a", auth=BASIC, headers={"forward": True})])
    assert site.get(headers={"Authorization": "Bearer client", "X-Kept": "1"}).status == 200
    (value,) = site.callee.one().all("Authorization")
    assert value.startswith("Basic ")
    assert site.callee.one().header("X-Kept") == "1"


def test_a_script_wins_over_auth(site: Site) -> None:
    """What request.by_lua sets is sent."""
    script = "kong.ctx.shared.callouts.a.request.params.headers.Authorization = 'Own x'"
    site.configure([callout("a", "/a", auth=BASIC, by_lua=script)])
    assert site.get().status == 200
    assert sent(site) == ["Own x"]


def test_auth_and_a_custom_header_are_refused_together(site: Site) -> None:
    """Two values for one header make the configuration unusable."""
    text = site.unusable([callout("a", "/a", auth=BASIC, headers={"custom": {"Authorization": "x"}})])
    assert not site.gateway.embedded or "headers.custom.Authorization" in text


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "basic", "username": "ann"},
        {"type": "bearer"},
        {"type": "oauth2_client_credentials", "token_url": "http://127.0.0.1/"},
        {"type": "digest", "username": "ann", "password": "x"},
    ],
)
def test_each_type_needs_its_fields(site: Site, auth: dict[str, Any]) -> None:
    """Credentials that are not complete are refused, by the gateway or by the plugin."""
    answer = site.gateway.post(site.declaration([site.plugin([callout("a", "/a", auth=auth)])]))
    if answer.status in (200, 201):
        site.unusable([callout("a", "/a", auth=auth)])
    else:
        assert answer.status == 400


def test_the_context_has_no_credentials(site: Site, tokens: Callee) -> None:
    """Neither scripts nor other plugins see what auth puts into the request."""
    params = "kong.ctx.shared.callouts.NAME.request.params"
    tell = f"kong.ctx.shared.callouts.NAME.seen = tostring({params}.headers.Authorization or {params}.auth)"
    callouts = [
        callout(name, f"/{name}", auth=auth, response={"by_lua": tell.replace("NAME", name)})
        for name, auth in (("a", BASIC), ("b", oauth(tokens)))
    ]
    site.configure(callouts, witness=True)
    context = site.context()
    assert [value and value.split()[0] for value in sent(site)] == ["Basic", "Bearer"]
    assert [context[name]["seen"] for name in "ab"] == ["nil", "nil"]
    for secret in ("wörd", "s3cr3t", "gate:way", "uthorization", "Basic", "Bearer"):
        assert secret not in str(context)


def test_a_token_is_fetched_once_and_kept(site: Site, tokens: Callee) -> None:
    """The token of one client credentials grant serves the requests that follow."""
    site.configure([callout("a", "/a", auth=oauth(tokens))])
    for _ in range(3):
        assert site.get().status == 200
    assert sent(site) == ["Bearer t1"] * 3
    asked = tokens.one("/token")
    assert (asked.method, asked.header("Accept")) == ("POST", "application/json")
    assert asked.header("Content-Type") == "application/x-www-form-urlencoded"
    assert parse_qs(asked.body.decode()) == {"grant_type": ["client_credentials"]}
    expected = b64encode(b"gate%3Away:s3cr3t%26%3A%2B%C3%BC").decode()
    assert asked.header("Authorization") == f"Basic {expected}"


def test_all_that_a_token_is_asked_with(site: Site, tokens: Callee) -> None:
    """Credentials in the body, scopes, audience and further parameters."""
    more = {"credentials_in": "body", "scopes": ["a", "b"], "audience": "api", "extra_parameters": {"resource": "x y"}}
    site.configure([callout("a", "/a", auth=oauth(tokens, **more))])
    assert site.get().status == 200
    asked = tokens.one("/token")
    assert asked.header("Authorization") is None
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["gate:way"],
        "client_secret": [SECRET],
        "scope": ["a b"],
        "audience": ["api"],
        "resource": ["x y"],
    }


def test_requests_at_once_share_one_fetch(site: Site, tokens: Callee) -> None:
    """A token is asked for once, also while several need it."""
    all_there = threading.Event()
    token = reply_json({"access_token": "t", "token_type": "bearer"}, hold=lambda: all_there.wait(PATIENCE_S))
    tokens.on("/token", token)
    auth = oauth(tokens)
    site.configure([callout(name, f"/{name}", auth=auth) for name in "abc"])
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(site.get) for _ in range(8)]
        assert tokens.arrived("/token")
        all_there.set()
        assert [answer.result().status for answer in answers] == [200] * 8
    assert sent(site) == ["Bearer t"] * 24
    assert len(tokens.received()) <= 2, "at most one for each of a Kong's two servers"


def test_the_token_server_is_reached_as_the_callee_is(site: Site) -> None:
    """The authorities, the client certificate and the key of http_opts hold for the token, its server name does not."""
    authority, gateways = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    gateways.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    tokens = Callee(reply_json({"access_token": "t", "token_type": "bearer"}), context)
    own = gateways.issue_cert("kong.example")
    trust = {"ca_certificates": authority.cert_pem.bytes().decode(), "ssl_server_name": "callee.example"}
    shown = {
        "client_certificate": own.cert_chain_pems[0].bytes().decode(),
        "client_key": own.private_key_pem.bytes().decode(),
    }
    try:
        for http_opts, status in (({**trust, **shown}, 200), (trust, 400), (shown, 400)):
            site.configure([callout("a", "/a", auth=oauth(tokens), http_opts=http_opts)])
            assert site.get().status == status
        assert len(tokens.received()) == 1
    finally:
        tokens.close()
    assert sent(site) == ["Bearer t"]


def test_a_refused_token_is_renewed(site: Site, tokens: Callee) -> None:
    """A 401 of the callee brings a new token, and the callout is sent once more with it."""
    accepted = reply_json({"id": 7})
    site.callee.on("/a", lambda got: accepted if got.header("Authorization") == "Bearer t2" else Reply(401))
    site.configure([callout("a", "/a", auth=oauth(tokens), error={"http_statuses": [401]})])
    assert site.get().status == 200
    assert sent(site) == ["Bearer t1", "Bearer t2"]


def test_a_second_401_is_the_answer(site: Site, tokens: Callee) -> None:
    """The callout is sent twice at most, and the policy counts it as one attempt."""
    site.callee.on("/a", Reply(401))
    error = {"http_statuses": [401], "error_response_code": 502, "on_error": "fail"}
    site.configure([callout("a", "/a", auth=oauth(tokens), error=error)])
    assert site.get().status == 502
    assert len(site.callee.received()) == 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply(401, b'{"error": "invalid_client", "error_description": "s3cr3t"}'),
        Reply(200, b"<html>s3cr3t</html>"),
        Reply(302, headers=(("Location", "http://127.0.0.1:1/"),)),
        Reply(drop=True),
        reply_json({"access_token": "t" * 100_000, "token_type": "bearer"}),
        reply_json({"access_token": "a\r\nX-Admin: 1", "token_type": "bearer"}),
    ],
    ids=["refused", "HTML", "redirect", "no answer", "huge", "header injection"],
)
def test_without_a_token_the_policy_decides(site: Site, tokens: Callee, reply: Reply) -> None:
    """Whatever the token server does wrong is an error of the callout, which is not sent; no secret is told."""
    tokens.on("/token", reply)
    site.configure([callout("a", "/a", auth=oauth(tokens), error={"on_error": "continue"})], witness=True)
    written = len(site.gateway.log())
    context = site.context()
    assert context["a"]["request"]["error"]["reason"] == "error"
    assert context["a"]["request"]["error"]["err"].startswith(f"no token from {tokens.url}/token: ")
    assert not site.callee.received()
    assert "s3cr3t" not in f"{context} {site.gateway.log()[written:]}"


def test_a_hit_does_not_depend_on_the_token(site: Site, tokens: Callee) -> None:
    """The cache's key has the client, not its token: what one token got is found with the next."""
    short = [reply_json({"access_token": f"s{n}", "token_type": "bearer", "expires_in": 0}) for n in range(5)]
    numbers = iter(short)
    tokens.on("/token", lambda _: next(numbers))
    first, second = (
        callout("a", "/a", auth=oauth(tokens)),
        callout("b", "/b", auth=oauth(tokens), cache={"bypass": True}),
    )
    site.configure([first, second], cache={"strategy": "memory"})
    for _ in range(2):
        assert site.get().status == 200
    assert len(site.callee.received("/a")) == 1
    assert len({request.header("Authorization") for request in site.callee.received("/b")}) == 2
