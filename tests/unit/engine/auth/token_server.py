"""A token server in the tests' own gevent hub, and callouts that are authorized with its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from tests.unit.engine.gevent_callee import Callee, Reply, callout

SECRET = "s3cr3t"


def token(number: int, **more: Any) -> Reply:
    """The answer to request ``number``: the token ``t<number>``."""
    return Reply({"access_token": f"t{number}", "token_type": "Bearer", "expires_in": 3600, **more})


class TokenServer(Callee):
    """A callee that keeps the forms it gets, and by default gives a new token each time."""

    def __init__(self, reply: Callable[[int], Reply] = token) -> None:
        super().__init__(reply)
        self.forms: list[dict[str, str]] = []

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read().decode()
        self.forms.append(dict(parse_qsl(body, keep_blank_values=True, strict_parsing=True)))
        return super()._answer(environ, start)


def authorized_by(tokens: TokenServer | str, callee: Callee, **parts: Any) -> dict[str, Any]:
    """A callout with a token; ``parts`` are those of ``request``, and of ``auth`` under that name."""
    url = tokens if isinstance(tokens, str) else tokens.url
    auth = {"type": "oauth2_client_credentials", "token_url": url, "client_id": "gateway", "client_secret": SECRET}
    return callout(callee, auth={**auth, **parts.pop("auth", {})}, **parts)


def shown(callee: Callee) -> list[str | None]:
    """The values of ``Authorization`` that a callee got."""
    return [environ.get("HTTP_AUTHORIZATION") for environ in callee.asked]


def guarded(callee: Callee, accepted: set[str]) -> None:
    """Let a callee answer 401 unless it gets one of these tokens."""

    def reply(number: int) -> Reply:
        sent = (callee.asked[number - 1].get("HTTP_AUTHORIZATION") or "").removeprefix("Bearer ")
        return Reply({"n": number}) if sent in accepted else Reply({"error": "no"}, 401)

    callee.reply = reply
