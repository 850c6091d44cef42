"""What is sent for a token, and what is taken from the answer."""

from __future__ import annotations

import base64
import time
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from request_callout.config import model
from request_callout.config.settings import Settings
from request_callout.engine import json
from request_callout.engine.auth.endpoint import Grant, TokenEndpoint, TokenUnavailable
from request_callout.engine.auth.fetching import token_request
from request_callout.transport import IncomingResponse, OutgoingRequest
from request_callout.transport.message import ClientCertificate, DestinationRules

URL = "https://id.test/oauth/token?tenant=1"
PROXY = model.Proxy("http://proxy.test:3128", "http://secure-proxy.test:3128", "u", "p")


def options(**fields: Any) -> model.HttpOptions:
    return model.HttpOptions(**{"ssl_verify": True, "ssl_server_name": None, "timeouts": None, "proxy": None, **fields})


def endpoint(http_opts: model.HttpOptions | None = None, destination: Any = None, **fields: Any) -> TokenEndpoint:
    given = {"token_url": URL, "client_id": "gateway", "client_secret": "s3cr3t", **fields}
    return TokenEndpoint(model.Auth("oauth2_client_credentials", **given), http_opts or options(), destination)


def request(settings: Settings | None = None, **fields: Any) -> OutgoingRequest:
    return token_request(endpoint(**fields), settings or Settings(), "agent")


def form(**fields: Any) -> dict[str, list[str]]:
    return parse_qs((request(**fields).body or b"").decode(), keep_blank_values=True, strict_parsing=True)


def credentials(**fields: Any) -> str | None:
    """What a server makes of the Basic credentials, or None."""
    value = dict(request(**fields).headers).get("Authorization")
    return None if value is None else base64.b64decode(value.removeprefix("Basic ")).decode()


def test_the_request_is_a_form_and_asks_for_json() -> None:
    """A POST of a form (RFC 6749, section 4.4.2) that accepts JSON, to the URL with its own query."""
    sent = request()
    assert (sent.method, sent.url) == ("POST", URL)
    headers = dict(sent.headers)
    assert headers["Accept"] == "application/json"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["User-Agent"] == "agent"
    assert form() == {"grant_type": ["client_credentials"]}


def test_scopes_audience_and_extra_parameters() -> None:
    """Scopes are one parameter with blanks in it; the rest goes in as it stands, and can't take the grant's place."""
    asked = form(
        scopes=("a:read", "b"), audience="https://api.test/?x=1&y", extra_parameters={"résource": "ö &=+", "e": ""}
    )
    assert asked == {
        "grant_type": ["client_credentials"],
        "scope": ["a:read b"],
        "audience": ["https://api.test/?x=1&y"],
        "résource": ["ö &=+"],
        "e": [""],
    }
    assert form(extra_parameters={"grant_type": "password"}) == {"grant_type": ["client_credentials"]}


def test_credentials_in_the_header_are_form_encoded_first() -> None:
    """RFC 6749, section 2.3.1: a colon or a non-ASCII letter in either can't be taken for something else."""
    assert credentials(client_id="a:b c", client_secret="p%:/+ä") == "a%3Ab+c:p%25%3A%2F%2B%C3%A4"
    assert "client_id" not in form(client_id="a")


def test_credentials_in_the_body() -> None:
    """With credentials_in: body they are parameters, and there is no Authorization."""
    asked = form(client_id="a:b c", client_secret="p%&=ä", credentials_in="body")
    assert (asked["client_id"], asked["client_secret"]) == (["a:b c"], ["p%&=ä"])
    assert credentials(credentials_in="body") is None


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_server_reads_back_what_was_configured(client_id: str, client_secret: str) -> None:
    """Whatever characters id and secret have, decoding by the RFC gives them back."""
    try:
        (client_id + client_secret).encode()
    except UnicodeEncodeError:
        return
    first, second = (credentials(client_id=client_id, client_secret=client_secret) or "").split(":")
    assert (unquote_plus(first), unquote_plus(second)) == (client_id, client_secret)
    asked = form(client_id=client_id, client_secret=client_secret, credentials_in="body")
    assert (asked["client_id"], asked["client_secret"]) == ([client_id], [client_secret])


def test_the_way_to_the_server_is_the_callouts() -> None:
    """Times, TLS, client certificate, proxy and destination rules are those of the callout."""
    opts = options(
        ssl_verify=False,
        ssl_server_name="callee.test",
        timeouts=model.Timeouts(1000, 2000, 0),
        proxy=PROXY,
        client_certificate="CERTIFICATE",
        client_key="KEY",
        ca_certificates="CAS",
        max_response_bytes=1,
        max_redirects=5,
    )
    destination = model.Destination(("id.test",), ("10.0.0.0/8",))
    sent = request(Settings(default_read_timeout_ms=7000), http_opts=opts, destination=destination)
    assert (sent.connect_timeout_s, sent.write_timeout_s, sent.read_timeout_s) == (1, 2, 7)
    assert (sent.ssl_verify, sent.ca_certificates) == (False, "CAS")
    assert sent.client_certificate == ClientCertificate("CERTIFICATE", "KEY")
    assert sent.proxy is not None
    assert (sent.proxy.url, sent.proxy.username, sent.proxy.password) == ("http://secure-proxy.test:3128", "u", "p")
    assert sent.destination == DestinationRules(("id.test",), ("10.0.0.0/8",))
    assert sent.ssl_server_name is None, "that is the callee's name"
    assert (sent.max_redirects, sent.max_body_bytes) == (0, 65536)


def test_a_fetch_has_a_deadline() -> None:
    """It is bounded by the total of the callout's timeouts, and always by what all callouts of a request may take."""
    for total_ms, most_s in ((500, 0.5), (None, 20.0), (90_000, 20.0)):
        before = time.monotonic()
        opts = options(timeouts=model.Timeouts(0, 0, 0, total_ms))
        deadline = request(Settings(deadline_ms=20_000), http_opts=opts).deadline
        assert deadline is not None
        assert before + most_s <= deadline <= time.monotonic() + most_s


def answer(value: Any, status: int = 200) -> Grant:
    body = value if isinstance(value, bytes) else json.encode(value)
    return endpoint().grant(IncomingResponse(status, [], body))


GOOD = {"access_token": "abc.DEF-_~+/==", "token_type": "Bearer", "expires_in": 120}


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER"])
def test_the_token_type_is_bearer_in_any_case(token_type: str) -> None:
    """Section 5.1: the value is case-insensitive."""
    assert answer({**GOOD, "token_type": token_type, "scope": "a", "more": {}}) == Grant("abc.DEF-_~+/==", 120.0)


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        (12.5, 12.5),
        (0, 0),
        (-5, 0),
        (None, 60),
        (True, 60),
        ("soon", 60),
        ("inf", 60),
        ("nan", 60),
        ([1], 60),
        (10**18, 10**18),
    ],
)
def test_expires_in(expires_in: Any, seconds: float) -> None:
    """A number, or a text with one; a minute where it is not said, or not to be understood."""
    assert answer({**GOOD, "expires_in": expires_in}).expires_in_s == seconds
    assert answer({name: value for name, value in GOOD.items() if name != "expires_in"}).expires_in_s == 60


BAD: dict[str, tuple[Any, int, str]] = {
    "HTML": (b"<html>Sign in</html>", 200, "status 200, but the answer is no JSON object"),
    "empty": (b"", 204, "status 204, but the answer is no JSON object"),
    "list": ([GOOD], 200, "status 200, but the answer is no JSON object"),
    "no token": ({"token_type": "bearer"}, 200, "status 200, but without an access_token"),
    "token is no text": ({**GOOD, "access_token": 5}, 200, "status 200, but without an access_token"),
    "error with 200": ({"error": "bad_verification_code"}, 200, "without an access_token, bad_verification_code"),
    "no type": ({"access_token": "a"}, 200, "the token_type of the answer is not Bearer"),
    "other type": ({**GOOD, "token_type": "mac"}, 200, "the token_type of the answer is not Bearer"),
    "blank in the token": ({**GOOD, "access_token": "a b"}, 200, "no bearer token"),
    "line break in the token": ({**GOOD, "access_token": "a\r\nX-Admin: 1"}, 200, "no bearer token"),
    "line break at its end": ({**GOOD, "access_token": "a\n"}, 200, "no bearer token"),
    "empty token": ({**GOOD, "access_token": ""}, 200, "no bearer token"),
    "refused": ({"error": "invalid_client", "error_description": "s3cr3t"}, 401, "status 401, invalid_client$"),
    "refused by a proxy": (b"<html>s3cr3t</html>", 403, "status 403$"),
    "redirect": (b"", 302, r"status 302 \(redirects are not followed with credentials\)$"),
    "not modified": ({**GOOD}, 304, "status 304"),
    "server error": ({"error": {"code": 5}}, 500, "status 500$"),
}


@pytest.mark.parametrize(("value", "status", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_token_is_said(value: Any, status: int, message: str) -> None:
    """The text has the status and the error code of section 5.2, nothing else of the answer."""
    with pytest.raises(TokenUnavailable, match=message) as told:
        answer(value, status)
    assert "s3cr3t" not in str(told.value)


@pytest.mark.parametrize("code", ["s3cr3t", "xs3cr3tx", "s3c", "Bad Code", "a" * 41, "invalid\nclient", ""])
def test_an_error_code_is_shown_only_if_it_can_be_one(code: str) -> None:
    """A server that answers with the credentials, or with free text, in place of the code is not quoted."""
    with pytest.raises(TokenUnavailable, match=r"^status 400$"):
        answer({"error": code}, 400)
