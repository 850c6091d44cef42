from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import logging
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote

import pytest
from pytest_httpserver import HTTPServer
from redis.exceptions import AuthenticationError, ConnectionError
from werkzeug import Request, Response

from request_callout.cache.redis.cloud import credentials
from request_callout.config import model

from .conftest import Settings

KEY = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
CACHE = {"aws_cache_name": "sessions", "aws_region": "eu-central-1"}
ROLE = {"aws_assume_role_arn": "arn:aws:iam::123456789012:role/cache-reader"}


def get(settings: model.Redis) -> tuple[str, str]:
    """The username and the token for a connection."""
    provider = credentials(settings)
    assert provider is not None
    user, token = provider.get_credentials()  # type: ignore[misc]
    return user, token


def query(token: str) -> dict[str, str]:
    host, _, text = token.partition("/?")
    return {"host": host, **dict(parse_qsl(text, strict_parsing=True))}


def signature(token: str, secret: str) -> str:
    """The signature of a presigned request, by the steps of AWS's documentation of Signature Version 4.

    Create a canonical request, a string to sign, derive the signing key, sign (IAM User Guide, "Create a signed AWS
    API request").
    """
    fields = query(token)
    host = fields.pop("host")
    fields.pop("X-Amz-Signature")
    canonical_query = "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in sorted(fields.items()))
    nothing = hashlib.sha256(b"").hexdigest()
    request = f"GET\n/\n{canonical_query}\nhost:{host}\n\nhost\n{nothing}"
    _, date, region, service, kind = fields["X-Amz-Credential"].split("/")
    scope = f"{date}/{region}/{service}/{kind}"
    to_sign = f"AWS4-HMAC-SHA256\n{fields['X-Amz-Date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, kind):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


@pytest.mark.parametrize(
    ("username", "changes", "expected"),
    [
        ("app", {}, {"host": "sessions", "User": "app", "ResourceType": "ServerlessCache"}),
        ("app", {"aws_is_serverless": False}, {"host": "sessions", "User": "app", "ResourceType": None}),
        ("an app+1/ü", {}, {"User": "an app+1/ü"}),
        ("app", {"aws_cache_name": "My-Cache"}, {"host": "my-cache"}),
        ("app", {"aws_region": "us-gov-west-1"}, {"User": "app"}),
    ],
)
def test_the_token_is_a_signed_request_to_connect(
    settings: Settings, username: str, changes: dict[str, Any], expected: dict[str, str | None]
) -> None:
    """It names cache and user, holds for 15 minutes, and its signature is the one of AWS's documentation."""
    chosen = {**CACHE, **KEY, **changes}
    user, token = get(settings("aws", username, **chosen))
    fields = query(token)
    assert user == username
    assert {name: fields.get(name) for name in expected} == expected
    assert (fields["Action"], fields["X-Amz-Expires"], fields["X-Amz-SignedHeaders"]) == ("connect", "900", "host")
    date = datetime.strptime(fields["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    assert abs(datetime.now(timezone.utc) - date) < timedelta(minutes=5)
    scope = f"{date:%Y%m%d}/{chosen['aws_region']}/elasticache/aws4_request"
    assert fields["X-Amz-Credential"] == f"AKIDEXAMPLE/{scope}"
    assert "X-Amz-Security-Token" not in fields
    assert fields["X-Amz-Signature"] == signature(token, KEY["aws_secret_access_key"])
    assert token.startswith(f"{fields['host']}/?")  # no scheme


def test_without_a_key_the_default_chain_counts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the environment sign, with their session token if they are temporary."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "temporary/+=")
    _, token = get(settings("aws", "app", **CACHE))
    fields = query(token)
    assert fields["X-Amz-Credential"].startswith("ASIAENV/")
    assert fields["X-Amz-Security-Token"] == "temporary/+="
    assert fields["X-Amz-Signature"] == signature(token, "environment")


def test_the_configured_key_goes_before_the_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the configuration is the one that signs."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment")
    _, token = get(settings("aws", "app", **CACHE, **KEY))
    assert query(token)["X-Amz-Credential"].startswith("AKIDEXAMPLE/")


def test_credentials_of_a_container_are_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    """The container's credentials endpoint is part of the default chain."""
    ends = (datetime.now(timezone.utc) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = {"AccessKeyId": "ASIATASK", "SecretAccessKey": "task", "Token": "t", "Expiration": ends}
    httpserver.expect_request("/task").respond_with_json(given)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", httpserver.url_for("/task"))
    _, token = get(settings("aws", "app", **CACHE))
    assert query(token)["X-Amz-Signature"] == signature(token, "task")


def assumed(expires_in: timedelta = timedelta(hours=1)) -> str:
    ends = (datetime.now(timezone.utc) + expires_in).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        "<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>"
        f"<SessionToken>role-session</SessionToken><Expiration>{ends}</Expiration></Credentials>"
        "<AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId>"
        "<Arn>arn:aws:sts::123456789012:assumed-role/cache-reader/s</Arn></AssumedRoleUser></AssumeRoleResult>"
        "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"
    )


@pytest.mark.parametrize(
    ("changes", "session"), [({"aws_role_session_name": "gateway-7"}, "gateway-7"), ({}, "kong-request-callout")]
)
def test_a_role_is_assumed_first(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    httpserver: HTTPServer,
    changes: dict[str, str],
    session: str,
) -> None:
    """STS is asked for the role with the configured key, and the role's temporary credentials sign the token."""
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        request.get_data()
        asked.append(request)
        return Response(assumed(), content_type="text/xml")

    httpserver.expect_request("/", method="POST").respond_with_handler(answer)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", httpserver.url_for("/"))
    _, token = get(settings("aws", "app", **CACHE, **KEY, **ROLE, **changes))
    (request,) = asked
    form = {name: value[0] for name, value in parse_qs(request.get_data().decode()).items()}
    assert form["Action"] == "AssumeRole"
    assert (form["RoleArn"], form["RoleSessionName"]) == (ROLE["aws_assume_role_arn"], session)
    assert "Credential=AKIDEXAMPLE/" in request.headers["Authorization"]
    assert "/eu-central-1/sts/" in request.headers["Authorization"]
    fields = query(token)
    assert fields["X-Amz-Credential"].startswith("ASIAROLE/")
    assert fields["X-Amz-Security-Token"] == "role-session"
    assert fields["X-Amz-Signature"] == signature(token, "role-secret")


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", AuthenticationError),
        (400, "Throttling", ConnectionError),
        (503, "ServiceUnavailable", ConnectionError),
    ],
)
def test_why_a_role_was_not_given_is_told_by_its_code(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    httpserver: HTTPServer,
    caplog: pytest.LogCaptureFixture,
    status: int,
    code: str,
    error: type[Exception],
) -> None:
    """The text has STS's code, neither names nor keys, and AWS's SDK writes nothing on the log."""
    message = f"User arn:aws:iam::1:user/me may not assume {ROLE['aws_assume_role_arn']}"
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    httpserver.expect_request("/").respond_with_data(body, status, content_type="text/xml")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", httpserver.url_for("/"))
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionError) as caught:
        get(settings("aws", "app", **CACHE, **KEY, **ROLE))
    assert type(caught.value) is error
    assert code in str(caught.value)
    told = str(caught.value) + caplog.text
    assert "arn:" not in told
    assert KEY["aws_secret_access_key"] not in told


def test_an_sts_that_is_not_there_is_a_failed_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    """A closed port is told as such."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{unused_port}")
    with pytest.raises(ConnectionError, match="aws: STS can't be reached: EndpointConnectionError") as caught:
        get(settings("aws", "app", **CACHE, **KEY, **ROLE))
    assert type(caught.value) is ConnectionError


def test_no_credentials_anywhere_is_told(settings: Settings) -> None:
    """Neither configured nor found is an error of authentication."""
    with pytest.raises(AuthenticationError, match="aws: no credentials"):
        get(settings("aws", "app", **CACHE))


@pytest.mark.parametrize("missing", ["username", "aws_cache_name", "aws_region"])
def test_a_vault_that_gave_nothing_is_told(settings: Settings, missing: str) -> None:
    """A field that is empty at the time of the connection is an error that names what is needed."""
    full = settings("aws", "app", **CACHE, **KEY)
    if missing == "username":
        empty = dataclasses.replace(full, username=None)
    else:
        cloud = dataclasses.replace(full.cloud_authentication, **json.loads(f'{{"{missing}": ""}}'))
        empty = dataclasses.replace(full, cloud_authentication=cloud)
    with pytest.raises(AuthenticationError, match=missing):
        get(empty)
