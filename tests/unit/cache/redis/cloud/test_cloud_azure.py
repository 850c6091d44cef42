from __future__ import annotations

import base64
import json
import logging
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from pytest_httpserver import HTTPServer
from redis.exceptions import AuthenticationError, ConnectionError
from werkzeug import Request, Response

from request_callout.cache.redis.cloud import credentials
from request_callout.config import model

from .conftest import Settings

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = {"azure_tenant_id": TENANT, "azure_client_id": "my-client", "azure_client_secret": "my~secret"}
TOKEN_PATH = f"/{TENANT}/oauth2/v2.0/token"


def jwt(**claims: object) -> str:
    """A token as Entra's, but for its signature."""
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "c2ln"])


def get(settings: model.Redis) -> tuple[str, str]:
    """The username and the token for a connection."""
    provider = credentials(settings)
    assert provider is not None
    user, token = provider.get_credentials()  # type: ignore[misc]
    return user, token


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HTTPServer]:
    """A login authority over TLS; its endpoint for tokens is up to the test."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    with HTTPServer("127.0.0.1", 0, ssl_context=context) as server:
        here = f"https://127.0.0.1:{server.port}"
        known = {
            "token_endpoint": f"{here}{TOKEN_PATH}",
            "authorization_endpoint": f"{here}/{TENANT}/oauth2/v2.0/authorize",
            "issuer": f"{here}/{TENANT}/v2.0",
        }
        server.expect_request(f"/{TENANT}/v2.0/.well-known/openid-configuration").respond_with_json(known)
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", here)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
        yield server


def answer_with(token: str) -> dict[str, object]:
    return {"token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": token}


@pytest.mark.parametrize(("username", "expected"), [(None, "the-object"), ("chosen", "chosen")])
def test_a_client_secret_gives_a_token_for_redis(
    settings: Settings, authority: HTTPServer, username: str | None, expected: str
) -> None:
    """The user is the object id that the token is for, unless a username is configured."""
    forms: list[dict[str, str]] = []

    def answer(request: Request) -> Response:
        forms.append(request.form.to_dict())
        return Response(json.dumps(answer_with(jwt(oid="the-object"))), content_type="application/json")

    authority.expect_request(TOKEN_PATH, method="POST").respond_with_handler(answer)
    assert get(settings("azure", username, **CLIENT)) == (expected, jwt(oid="the-object"))
    (form,) = forms
    asked = {name: form[name] for name in ("grant_type", "client_id", "client_secret", "scope")}
    assert asked == {
        "grant_type": "client_credentials",
        "client_id": "my-client",
        "client_secret": "my~secret",
        "scope": "https://redis.azure.com/.default",
    }


@pytest.mark.parametrize("token", [jwt(sub="x"), jwt(oid=5), "opaque", "a.!.c", "a.W10.c"])
def test_a_token_that_does_not_say_whose_it_is_needs_a_username(
    settings: Settings, authority: HTTPServer, token: str
) -> None:
    """Without an object id in the token and without a username nobody can log in."""
    authority.expect_request(TOKEN_PATH, method="POST").respond_with_json(answer_with(token))
    with pytest.raises(AuthenticationError, match="set username to the object id"):
        get(settings("azure", **CLIENT))
    assert get(settings("azure", "chosen", **CLIENT)) == ("chosen", token)


def test_a_refusal_is_told_by_its_code(
    settings: Settings, authority: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The text has Entra's code and no ids, and Azure's SDK writes neither ids nor the secret on the log."""
    refusal = {
        "error": "invalid_client",
        "error_description": "AADSTS7000215: Invalid client secret provided for app 'my-client' (my~secret).",
    }
    authority.expect_request(TOKEN_PATH, method="POST").respond_with_json(refusal, status=401)
    with caplog.at_level(logging.DEBUG), pytest.raises(AuthenticationError) as caught:
        get(settings("azure", **CLIENT))
    assert str(caught.value) == "azure: Microsoft Entra ID gave no token: AADSTS7000215"
    assert "my-client" not in caplog.text
    assert "my~secret" not in caplog.text
    assert {record.name.partition(".")[0] for record in caplog.records}.isdisjoint({"azure", "msal"})


def test_an_authority_that_fails_is_a_failed_connection(settings: Settings, authority: HTTPServer) -> None:
    """A server error is no refusal."""
    authority.expect_request(TOKEN_PATH, method="POST").respond_with_data("down", status=503)
    with pytest.raises(ConnectionError, match="azure: Microsoft Entra ID failed with status 503") as caught:
        get(settings("azure", **CLIENT))
    assert type(caught.value) is ConnectionError


def test_without_any_credentials_it_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither configured nor found is an error of authentication."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")  # so that no metadata server is asked
    with pytest.raises(AuthenticationError, match="azure: no credentials"):
        get(settings("azure"))


def test_an_authority_that_is_not_trusted_gets_no_secret(
    settings: Settings, authority: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authority's certificate is verified before anything is sent."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(ConnectionError, match="azure: Microsoft Entra ID can't be reached") as caught:
        get(settings("azure", **CLIENT))
    assert type(caught.value) is ConnectionError
    assert authority.log == []


def test_an_authority_that_is_not_there_is_a_failed_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    """A closed port is told as such."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"https://127.0.0.1:{unused_port}")
    with pytest.raises(ConnectionError, match="azure: Microsoft Entra ID can't be reached") as caught:
        get(settings("azure", **CLIENT))
    assert type(caught.value) is ConnectionError


@pytest.mark.parametrize("client_id", [None, "my-identity"])
def test_without_a_secret_the_managed_identity_counts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer, client_id: str | None
) -> None:
    """The endpoint for managed identities is asked, for the one with the client id if that is configured."""
    asked: list[Request] = []
    given = {
        "access_token": jwt(oid="machine"),
        "expires_on": str(int(time.time()) + 3600),
        "resource": "https://redis.azure.com",
        "token_type": "Bearer",
    }

    def answer(request: Request) -> Response:
        asked.append(request)
        return Response(json.dumps(given), content_type="application/json")

    httpserver.expect_request("/identity").respond_with_handler(answer)
    monkeypatch.setenv("IDENTITY_ENDPOINT", httpserver.url_for("/identity"))
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    chosen = {} if client_id is None else {"azure_client_id": client_id}
    assert get(settings("azure", **chosen)) == ("machine", jwt(oid="machine"))
    (request,) = asked
    assert request.args["resource"] == "https://redis.azure.com"
    assert request.args.get("client_id") == client_id


def test_ids_that_are_none_are_told(settings: Settings) -> None:
    """A tenant id of impossible characters is refused before anybody is asked."""
    with pytest.raises(AuthenticationError, match="azure_tenant_id or azure_client_id is no valid id"):
        get(settings("azure", **(CLIENT | {"azure_tenant_id": "a tenant/.."})))
