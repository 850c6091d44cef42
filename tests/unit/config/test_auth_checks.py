"""What is refused of ``callouts[].request.auth`` when a configuration is checked."""

from __future__ import annotations

from typing import Any

import pytest

from request_callout.config import load
from request_callout.config.problems import InvalidConfiguration

OAUTH = {
    "type": "oauth2_client_credentials",
    "token_url": "https://id.test/token?tenant=1",
    "client_id": "gateway",
    "client_secret": "s3cr3t",
}
BASIC = {"type": "basic", "username": "ann", "password": "s3cr3t"}


def problems(auth: dict[str, Any], **request: Any) -> dict[str, str]:
    """Messages by their paths below ``request``."""
    config = {"callouts": [{"name": "a", "request": {"url": "http://h/", "auth": auth, **request}}]}
    try:
        load(config)
    except InvalidConfiguration as error:
        prefix = "config.callouts[1].request."
        return {problem.path.removeprefix(prefix): problem.message for problem in error.problems}
    return {}


GOOD: list[dict[str, Any]] = [
    BASIC,
    {**BASIC, "username": "$(headers.user)", "password": "p: $(headers.p)"},
    {"type": "bearer", "token": "abc.def-_~+/=="},
    {"type": "bearer", "token": "pre-$(headers.token)"},
    {"type": "bearer", "token": "$(callouts.b.response.body.token)"},
    OAUTH,
    {**OAUTH, "client_id": "a:b &ü", "client_secret": "s&:=\x01", "scopes": ["a:read", "https://s.test/.default"]},
    {**OAUTH, "audience": "https://api.test", "extra_parameters": {"resource": "r"}, "credentials_in": "body"},
]


@pytest.mark.parametrize("auth", GOOD)
def test_what_is_accepted(auth: dict[str, Any]) -> None:
    """Constants and expressions where they may stand, and any characters in a client's id and secret."""
    assert problems(auth) == {}
    assert problems(auth, headers={"forward": True, "remove": ["Authorization"], "custom": {"X-A": "b"}}) == {}


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({**BASIC, "password": "s3cr3t\n"}, "auth.password", "line breaks"),
    ({**BASIC, "username": "s3cr3t\t$(headers.a)"}, "auth.username", "line breaks"),
    ({"type": "bearer", "token": "s3 cr3t"}, "auth.token", "no bearer token has"),
    ({"type": "bearer", "token": "s3cr3t:x"}, "auth.token", "no bearer token has"),
    ({"type": "bearer", "token": "Bearer s3cr3t"}, "auth.token", "remove the word Bearer"),
    ({"type": "bearer", "token": "bearer $(headers.s3cr3t)"}, "auth.token", "remove the word Bearer"),
    ({**OAUTH, "token_url": "https://u:s3cr3t@id.test/"}, "auth.token_url", "use client_id and client_secret"),
    ({**OAUTH, "token_url": "https://id.test/#s3cr3t"}, "auth.token_url", "fragment"),
    ({**OAUTH, "token_url": "ftp://id.test/"}, "auth.token_url", "no valid URL"),
    ({**OAUTH, "scopes": ["a", "b c"]}, "auth.scopes[2]", "list each by itself"),
    ({**OAUTH, "scopes": ['"']}, "auth.scopes[1]", "no scope"),
    *(
        ({**OAUTH, "extra_parameters": {name: "s3cr3t"}}, f"auth.extra_parameters.{name}", "must not be given here")
        for name in ("grant_type", "client_id", "client_secret", "scope", "audience")
    ),
]


@pytest.mark.parametrize(("auth", "path", "message"), BAD, ids=[f"{path}-{hint}" for _, path, hint in BAD])
def test_what_is_refused(auth: dict[str, Any], path: str, message: str) -> None:
    """Each problem is told at its field, with what to do, and without the value."""
    told = problems(auth)
    assert list(told) == [path]
    assert message in told[path]
    assert "s3cr3t" not in str(told)


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
@pytest.mark.parametrize("auth", [BASIC, OAUTH])
def test_auth_and_a_custom_authorization_exclude_each_other(auth: dict[str, Any], name: str) -> None:
    """Two values for one header are refused; without auth the header is free."""
    told = problems(auth, headers={"custom": {name: "Bearer s3cr3t"}})
    assert list(told) == [f"headers.custom.{name}"]
    assert "s3cr3t" not in str(told)
    load({"callouts": [{"name": "a", "request": {"url": "http://h/", "headers": {"custom": {name: "x"}}}}]})


def test_a_reference_is_not_looked_into() -> None:
    """What a vault holds is not there yet when a file is checked."""
    reference = "{vault://env/x}"
    assert problems({"type": "bearer", "token": reference}) == {}
    assert problems({**OAUTH, "token_url": reference, "client_id": reference, "client_secret": reference}) == {}
