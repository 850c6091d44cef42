"""Which names are those of secrets."""

from __future__ import annotations

import pytest

from request_callout.engine.secret_names import is_secret, secret_members


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "apikey", "x-auth", "oauth2"),
        *("access_token", "clientSecret", "PASSWORD", "passwd", "pwd", "X-Amz-Signature", "sessionid", "sig"),
        *("X-Callout-Debug", "credentials", "x-csrf-token", "client_assertion", "authorisation"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    """Whatever is called like a secret is one."""
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "Accept", "author", "Content-Type", "X-Request-Id", "id", "email", "ETag", "design", "grant_type"),
        *("token_type", "Access-Control-Allow-Credentials", "WWW-Authenticate"),
    ],
)
def test_names_of_what_is_none(name: str) -> None:
    """What an operator needs to see stays."""
    assert not is_secret(name)


def test_members() -> None:
    """A member is secret by its own name, or as the value of a pair whose name is one."""
    assert secret_members({"id": 1, "password": "x"}) == {"password"}
    assert secret_members({"name": "X-Api-Key", "value": "x", "id": 1}) == {"value"}
    assert secret_members({"key": "session", "value": "x"}) == {"key", "value"}
    assert secret_members({"name": "Ann", "value": "x"}) == frozenset()
