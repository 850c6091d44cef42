from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pytest_httpserver import HTTPServer
from redis.exceptions import AuthenticationError, ConnectionError
from werkzeug import Request, Response

from request_callout.cache.redis.cloud import credentials
from request_callout.config import model

from .conftest import Settings

EMAIL = "cache@my-project.iam.gserviceaccount.com"


def get(settings: model.Redis) -> tuple[str, ...]:
    """What a connection logs in with."""
    provider = credentials(settings)
    assert provider is not None
    return provider.get_credentials()


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def account(private_key: rsa.RSAPrivateKey, httpserver: HTTPServer) -> dict[str, Any]:
    """The key file of a service account whose tokens come from the test's server."""
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": EMAIL,
        "token_uri": httpserver.url_for("/token"),
    }


def part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize(("username", "expected"), [(None, ("ya29.t",)), ("somebody", ("somebody", "ya29.t"))])
def test_a_service_account_gives_a_token(
    settings: Settings,
    httpserver: HTTPServer,
    account: dict[str, Any],
    private_key: rsa.RSAPrivateKey,
    username: str | None,
    expected: tuple[str, ...],
) -> None:
    """Its key signs the request for an access token (RFC 7523), and that is the password, of the default user too."""
    forms: list[dict[str, list[str]]] = []

    def answer(request: Request) -> Response:
        forms.append(parse_qs(request.get_data().decode()))
        return Response(json.dumps({"access_token": "ya29.t", "expires_in": 3599}), content_type="application/json")

    httpserver.expect_request("/token", method="POST").respond_with_handler(answer)
    assert get(settings("gcp", username, gcp_service_account_json=json.dumps(account))) == expected
    (form,) = forms
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, claims, signature = form["assertion"][0].split(".")
    private_key.public_key().verify(part(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    said = json.loads(part(claims))
    assert (said["iss"], said["scope"]) == (EMAIL, "https://www.googleapis.com/auth/cloud-platform")


def test_without_an_account_the_application_default_credentials_count(
    settings: Settings,
    httpserver: HTTPServer,
    account: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A key file that the environment names is used."""
    key_file = tmp_path / "key.json"
    key_file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    httpserver.expect_request("/token").respond_with_json({"access_token": "ya29.default", "expires_in": 3599})
    assert get(settings("gcp")) == ("ya29.default",)


def test_without_any_credentials_it_is_told(settings: Settings) -> None:
    """Neither configured nor found is an error of authentication."""
    with pytest.raises(AuthenticationError, match="gcp: no credentials"):
        get(settings("gcp"))


def test_a_key_that_is_none_is_told_without_it(settings: Settings, account: dict[str, Any]) -> None:
    """A private key that can't be read is named by its field, and not repeated."""
    broken = account | {"private_key": "-----BEGIN hunter2"}
    with pytest.raises(AuthenticationError) as caught:
        get(settings("gcp", gcp_service_account_json=json.dumps(broken)))
    assert str(caught.value) == "gcp: gcp_service_account_json holds no key of a service account"


@pytest.mark.parametrize(
    ("status", "answer", "error", "text"),
    [
        (
            400,
            {"error": "invalid_grant", "error_description": f"Invalid JWT for {EMAIL}"},
            AuthenticationError,
            "gcp: the token server gave no token: invalid_grant",
        ),
        (400, {"error": f"no {EMAIL}"}, AuthenticationError, "gcp: the token server gave no token"),
        (401, {"error": {"message": EMAIL}}, AuthenticationError, "gcp: the token server gave no token"),
        (503, {"error": "unavailable"}, ConnectionError, "gcp: the token server can't be reached or failed"),
    ],
)
def test_a_refusal_is_told_by_its_code(
    settings: Settings,
    httpserver: HTTPServer,
    account: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    status: int,
    answer: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    """The text has the code of OAuth and not the account's name."""
    httpserver.expect_request("/token").respond_with_json(answer, status=status)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionError) as caught:
        get(settings("gcp", gcp_service_account_json=json.dumps(account)))
    assert type(caught.value) is error
    assert str(caught.value) == text
    assert EMAIL not in caplog.text


def test_a_token_server_that_is_not_there_is_a_failed_connection(
    settings: Settings, account: dict[str, Any], unused_port: int
) -> None:
    """A closed port is told as such."""
    nowhere = account | {"token_uri": f"http://127.0.0.1:{unused_port}/token"}
    with pytest.raises(ConnectionError, match="gcp: the token server can't be reached") as caught:
        get(settings("gcp", gcp_service_account_json=json.dumps(nowhere)))
    assert type(caught.value) is ConnectionError
