"""Credentials of ``request.auth`` are on the wire and nowhere else: planted here, and looked for everywhere."""

from __future__ import annotations

import base64
import logging
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from request_callout.engine import Engine
from tests.unit.engine.auth.token_server import TokenServer, shown
from tests.unit.engine.gevent_callee import Callee, Clock, Reply, callout, configured, event, until

PASSWORD, TOKEN, SECRET, FETCHED = "PLANTED-password", "PLANTED-token", "PLANTED-client-secret", "PLANTED-fetched"
AUTHS: dict[str, dict[str, Any]] = {
    "basic": {"type": "basic", "username": "ann", "password": PASSWORD},
    "basic of the client": {"type": "basic", "username": "ann", "password": f"$('{PASSWORD}')"},
    "bearer": {"type": "bearer", "token": TOKEN},
    "bearer of the client": {"type": "bearer", "token": f"$('{TOKEN}')"},
    "header": {"type": "oauth2_client_credentials", "client_id": "gateway", "client_secret": SECRET},
    "body": {
        "type": "oauth2_client_credentials",
        "client_id": "gateway",
        "client_secret": SECRET,
        "credentials_in": "body",
    },
}
PLANTED = [
    re.escape(form)
    for form in (
        "PLANTED",
        *(base64.b64encode(one.encode()).decode()[:-4] for one in (f"ann:{PASSWORD}", f"gateway:{SECRET}")),
    )
]
DUMP = """
    local function dump(value, at)
      if type(value) ~= "table" then kong.log.notice(at, "=", tostring(value)) return end
      for name, one in pairs(value) do dump(one, at .. "." .. tostring(name)) end
    end
    dump(kong.ctx.shared, "shared")
"""
"""A script that tells everything it can see of the callouts."""


def dead() -> str:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{bound.getsockname()[1]}/"


Case = Callable[[Callee, TokenServer], dict[str, Any]]


def _answers(callee: Callee, reply: Reply) -> dict[str, Any]:
    callee.reply = lambda _: reply
    return {}


def _token_server(tokens: TokenServer, reply: Reply) -> dict[str, Any]:
    tokens.reply = lambda _: reply
    return {}


CASES: dict[str, Case] = {
    "success": lambda callee, tokens: {},
    "scripts": lambda callee, tokens: {"by_lua": DUMP, "response": {"by_lua": DUMP}},
    "script fails": lambda callee, tokens: {"response": {"by_lua": DUMP + "error(kong.ctx.shared.callouts.a)"}},
    "refused": lambda callee, tokens: _answers(callee, Reply(b"", 401)) | {"error": {"http_statuses": [401]}},
    "callee is down": lambda callee, tokens: {"url": dead(), "error": {"retries": 1}},
    "continue": lambda callee, tokens: {"url": dead(), "error": {"on_error": "continue"}},
    "vary": lambda callee, tokens: _answers(callee, Reply(b"{}", 200, {"Vary": "Authorization"})),
    "redirect": lambda callee, tokens: (
        _answers(callee, Reply(b"", 302, {"Location": dead()})) | {"http_opts": {"max_redirects": 1}}
    ),
    "token server echoes": lambda callee, tokens: _token_server(
        tokens, Reply({"error": SECRET.lower(), "error_description": SECRET}, 400)
    ),
    "token server answers HTML": lambda callee, tokens: _token_server(tokens, Reply(f"<p>{SECRET}</p>".encode())),
    "no bearer token": lambda callee, tokens: _token_server(
        tokens, Reply({"access_token": f"{FETCHED} {SECRET}", "token_type": "bearer"})
    ),
    "other token type": lambda callee, tokens: _token_server(
        tokens, Reply({"access_token": FETCHED, "token_type": f"mac {SECRET}"})
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("auth", AUTHS.values(), ids=AUTHS.keys())
def test_credentials_are_only_on_the_wire(
    engine: Engine,
    tokens: TokenServer,
    callee: Callee,
    caplog: pytest.LogCaptureFixture,
    auth: dict[str, Any],
    case: Case,
) -> None:
    """In no log line, log record, context, script, answer to the client, cache key or cache entry is any of them."""
    caplog.set_level(logging.DEBUG)
    tokens.reply = lambda number: Reply({"access_token": f"{FETCHED}-{number}", "token_type": "Bearer"})
    if auth["type"] == "oauth2_client_credentials":
        auth = {**auth, "token_url": f"{tokens.url}token?hint=PLANTED-query"}
    parts = case(callee, tokens)
    config = callout(callee, cache={"respect_cache_control": True}, auth=auth, **parts)
    instance = configured(engine, config)
    kept: list[Any] = []
    put = instance.store.put

    def keep(*args: Any) -> None:
        kept.append(args)
        put(*args)

    instance.store.put = keep  # type: ignore[method-assign, assignment]
    told = [event(instance).kong for _ in range(2)]
    seen = [caplog.text.replace(Path(__file__).name, ""), kept]
    seen += [(kong.answer, kong.log) for kong in told]
    assert caplog.records
    assert "callouts" in str(seen)
    assert re.findall("|".join(PLANTED), str(seen), re.IGNORECASE) == []


@pytest.mark.parametrize("auth", AUTHS.values(), ids=AUTHS.keys())
def test_what_is_planted_reaches_the_wire(
    engine: Engine, tokens: TokenServer, callee: Callee, auth: dict[str, Any]
) -> None:
    """The search above looks for what is really sent."""
    tokens.reply = lambda _: Reply({"access_token": FETCHED, "token_type": "Bearer"})
    if auth["type"] == "oauth2_client_credentials":
        auth = {**auth, "token_url": tokens.url}
    event(configured(engine, callout(callee, auth=auth)))
    wire = f"{shown(callee)} {shown(tokens)} {tokens.forms}"
    assert re.search("|".join(PLANTED), wire)


def test_a_script_sees_everything_but_the_credentials(
    engine: Engine, callee: Callee, caplog: pytest.LogCaptureFixture
) -> None:
    """The dump that these tests use does show the headers of a callout."""
    config = callout(callee, auth=AUTHS["bearer"], by_lua=DUMP, headers={"custom": {"X-Shown": "yes"}})
    got = event(configured(engine, config))
    notices = str(got.kong.written("kong.log.notice"))
    assert "X-Shown" in notices
    assert "Authorization" not in notices


def test_a_token_url_from_a_vault_is_in_no_line(
    timed: Engine, clock: Clock, tokens: TokenServer, callee: Callee, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the line of a new token nor those of a failed renewal or of a server that is down have such a URL."""
    caplog.set_level(logging.DEBUG)
    reference = {"$refs": {"token_url": "{vault://env/token-url}"}}
    down, up = dead() + "PLANTED-tenant/token", f"{tokens.url}PLANTED-tenant/token"
    auths = [{**AUTHS["header"], **reference, "token_url": url} for url in (up, down)]
    tokens.reply = lambda _: Reply({"access_token": FETCHED, "token_type": "Bearer", "expires_in": 100})
    instances = [configured(timed, callout(callee, auth=auth), cache={"strategy": "off"}) for auth in auths]
    for instance in instances:
        event(instance)
    tokens.reply = lambda _: Reply(b"", 503)
    clock.now += 70  # the token is good for another 10 s, and asked for again
    event(instances[0])
    until(lambda: "no new token from" in caplog.text)
    lines = caplog.text.replace(Path(__file__).name, "")
    assert "a token from ***, valid for 100 s" in lines
    assert "no token from ***" in lines
    assert "PLANTED" not in lines
