"""Why a request failed is told without its secrets, and with all else that a script says."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from request_callout.engine.client import Part
from request_callout.engine.run import Run
from tests.unit.engine.gevent_callee import Callee, Reply
from tests.unit.engine.kong_double import KongDouble

SECRET = "hush-5f0c"
BODY = f"password={SECRET}&about=acme".encode()
USER = b64encode(f"user:{SECRET}".encode()).decode()
HEADERS: dict[str, Any] = {
    "authorization": f"Basic {USER}",
    "cookie": f'lang=en; session="{SECRET}"',
    "x-tenant": "acme",
    "x-api-key": [SECRET, "another"],
}


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee(lambda number: Reply({"deep": [{"refresh_token": SECRET}], "name": "acme"}))
    yield callee
    callee.close()


def told(config: dict[str, Any], caplog: pytest.LogCaptureFixture, body: bytes = BODY) -> str:
    """All that is logged about a request with secrets."""
    caplog.set_level(logging.DEBUG)
    event = KongDouble(
        kong__request__get_header=lambda name: HEADERS.get(name),
        kong__request__get_headers=lambda *_: dict(HEADERS),
        kong__request__get_path_with_query=f"/p?id={SECRET}",
        kong__request__get_raw_query=f"id={SECRET}&tab=2",
        kong__request__get_raw_body=body,
        kong__client__get_credential={"id": "7", "key": SECRET},
        kong__ctx__shared__get={"token": SECRET},
    )
    engine = Engine(Settings(deadline_ms=5_000))
    instance = engine.instance({"__plugin_id": "p", **config})
    assert instance.problems == ()
    instance.access(event)
    engine.close()
    return caplog.text


@pytest.mark.parametrize(
    "value",
    [
        "kong.request.get_header('authorization')",
        "ngx.decode_base64(kong.request.get_header('authorization'):sub(7))",
        "kong.request.get_header('cookie'):match('session=(.+)')",
        "kong.request.get_headers()['x-api-key'][1]",
        "kong.request.get_raw_query()",
        "kong.request.get_path_with_query()",
        "kong.request.get_raw_body()",
        "kong.client.get_credential().key",
        "kong.ctx.shared.given.token",
        "kong.ctx.shared.callouts.a.response.body.deep[1].refresh_token",
        "ngx.escape_uri(kong.request.get_header('authorization'))",
        "kong.request.get_header('authorization'):lower()",
    ],
)
def test_what_a_script_throws_has_no_secret(callee: Callee, caplog: pytest.LogCaptureFixture, value: str) -> None:
    """Whatever it quotes of the client, of Kong or of a response, in whatever part: the rest of the message stays."""
    a = {"name": "a", "request": {"url": callee.url}, "response": {"body": {"decode": True}}}
    config = {
        "callouts": [a] if "callouts" in value else [],  # nothing else may tell of the secret
        "upstream": {"by_lua": f"error(kong.request.get_header('x-tenant') .. ' has no right: ' .. {value})"},
    }
    log = told(config, caplog)
    assert "acme has no right: " in log
    assert "***" in log
    assert SECRET not in log
    assert USER.lower() not in log.lower()


@pytest.mark.parametrize("part", ["scheme", "host", "port"])
def test_a_target_that_is_none_is_not_quoted_with_secrets(caplog: pytest.LogCaptureFixture, part: str) -> None:
    """What an expression gave is shown where it can't be used, unless it is a secret."""
    target = {"host": "127.0.0.1", "port": "80", part: "/$(headers.cookie)"}
    log = told({"callouts": [], "upstream": {"target": target}}, caplog)
    assert f"target.{part}" in log
    assert SECRET not in log


@pytest.mark.parametrize("value", [f"'{SECRET}'", f"'user:{SECRET}'"])
def test_the_password_in_credentials_is_a_secret_by_itself(
    callee: Callee, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    """Of basic authentication the password alone is hidden too, where nothing but the header has told it."""
    caplog.set_level(logging.DEBUG)
    event = KongDouble(kong__request__get_header=lambda name: HEADERS["authorization"])
    engine = Engine(Settings(deadline_ms=5_000))
    by_lua = f"kong.request.get_header('authorization')\nerror('not allowed: ' .. {value})"
    engine.instance({"__plugin_id": "p", "callouts": [], "upstream": {"by_lua": by_lua}}).access(event)
    engine.close()
    assert "not allowed: " in caplog.text
    assert SECRET not in caplog.text


def test_what_a_script_asks_for_again_is_kept_once(callee: Callee) -> None:
    """Calls of the PDK for each element of a list do not add up to so many copies of the client's body."""
    runs: list[Run] = []

    class Keeping:
        reads: tuple[Part, ...] = ()

        def begin(self, run: Run) -> None:
            runs.append(run)

        def close(self) -> None:
            """Nothing is kept open."""

    script = "kong.request.get_raw_body()\nkong.request.get_header('x-tenant')\nkong.request.get_raw_body()"
    items = "$({1, 2, 3, 4, 5, 6, 7, 8})"
    engine = Engine(Settings(deadline_ms=5_000), observers=[Keeping()])
    a = {"name": "a", "for_each": {"items": items}, "request": {"url": callee.url, "by_lua": script}}
    instance = engine.instance({"__plugin_id": "p", "callouts": [a]})
    instance.access(
        KongDouble(kong__request__get_raw_body=lambda: b"x" * 1000, kong__request__get_header=lambda name: "acme")
    )
    engine.close()
    assert len(callee.asked) == 8
    [run] = runs
    assert run.told == {
        ("kong.request.get_raw_body", None): ["x" * 1000],
        ("kong.request.get_header", "x-tenant"): ["acme"],
    }


@pytest.mark.parametrize("read", ["kong.request.get_raw_body()", "kong.ctx.shared.callouts.a.response.body"])
def test_what_is_too_large_to_be_looked_through_is_not_quoted(caplog: pytest.LogCaptureFixture, read: str) -> None:
    """A callee or a client with megabytes neither holds the worker up nor gets secrets into a message."""
    large = {"token": SECRET, "rest": "x" * 1024 * 1024}
    callee = Callee(lambda number: Reply(large))
    config = {
        "callouts": [{"name": "a", "request": {"url": callee.url}}],
        "upstream": {"by_lua": f"error({read}:sub(1, 40))"},
    }
    log = told(config, caplog, json.dumps(large).encode())
    callee.close()
    assert "upstream.by_lua: line 1: (why is not told: bodies of over" in log
    assert SECRET not in log


def test_an_error_of_a_large_response_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What the plugin itself says of a response that is no JSON quotes nothing of it."""
    callee = Callee(lambda number: Reply(b"x" * 2 * 1024 * 1024))
    a = {"name": "a", "request": {"url": callee.url}, "response": {"body": {"decode": True}}}
    log = told({"callouts": [a]}, caplog)
    callee.close()
    assert log.count("the response body is not JSON") > 1
    assert "not told" not in log
