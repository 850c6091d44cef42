"""Secrets of the configuration and of the client stay out of the log, Kong's log record and the client's answer."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from request_callout.engine import Engine
from request_callout.server.process import set_up_logging
from tests.unit.engine.conftest import engine  # noqa: F401  (a fixture)
from tests.unit.engine.kong_double import KongDouble

SECRET = re.compile("SECRET[A-Z0-9]*", re.IGNORECASE)
HEADERS = {"custom": {"Authorization": "Bearer SECRETTOKEN", "X-Api-Key": "SECRETKEY"}}
USER = "SECRETUSER:SECRETPASSWORD@"
PARAMS = "kong.ctx.shared.callouts.a.request.params"
VAULT = {"$refs": {"url": "{vault://env/place}"}}


def client() -> KongDouble:
    return KongDouble(
        kong__request__get_headers={"host": "h", "authorization": "Bearer SECRETAUTH", "cookie": "SECRETCOOKIE"},
        kong__request__get_raw_query="q=SECRETPARAMETER",
        kong__request__get_raw_body=b"SECRETBODY",
    )


def dead() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def seen(engine: Engine, caplog: pytest.LogCaptureFixture, url: str, **request: Any) -> str:  # noqa: F811
    """Everything that leaves the plugin about one request, at the finest log level."""
    caplog.set_level(logging.DEBUG)
    kong = client()
    engine.instance({"__plugin_id": "p", "callouts": [{"name": "a", "request": {"url": url, **request}}]}).access(kong)
    assert caplog.records
    # Compiled functions have no frame: logging takes this file, whose name is no secret, for where their lines are.
    log = caplog.text.replace(Path(__file__).name, "")
    return f"{log}\n{kong.answer}\n{kong.written('kong.log.set_serialize_value')}"


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "refused": (f"http://{USER}DEAD/?a=SECRETQUERY#SECRETFRAGMENT", {"headers": HEADERS}),
    "forwarded": (
        "http://DEAD/",
        {"headers": {"forward": True}, "query": {"forward": True, "custom": {"k": "SECRETV"}}},
    ),
    "retried": (f"http://{USER}DEAD/", {"headers": HEADERS, "error": {"on_error": "retry", "retries": 1}}),
    "continued": (f"http://{USER}DEAD/?a=SECRETQUERY", {"error": {"on_error": "continue"}}),
    "unknown host": (f"http://{USER}nosuch.invalid/?a=SECRETQUERY", {"headers": HEADERS}),
    "bad port": (f"http://{USER}h:99999/", {}),
    "bad scheme": (f"ftp://{USER}h/", {}),
    "proxy": (
        "https://127.0.0.1:1/",
        {
            "http_opts": {
                "proxy": {"https_proxy": "http://DEAD/", "auth_username": "SECRETP", "auth_password": "SECRETQ"}
            }
        },
    ),
    "proxy with user info": ("http://h/", {"http_opts": {"proxy": {"http_proxy": f"http://{USER}DEAD/"}}}),
    "not a header": ("http://DEAD/", {"by_lua": f"{PARAMS}.headers.Authorization = {{'SECRETA', {{}}}}"}),
    "a script's header": ("http://DEAD/", {"by_lua": f"{PARAMS}.headers['X-A'] = kong.request.get_header('cookie')"}),
    "wrong types": ("http://h/", {"headers": {"custom": {"A": {"b": "SECRETNESTED"}}}}),
    "the URL is a header": ("$(headers.authorization)", {}),
    "the URL's host is a header": ("http://$(headers.authorization)/", {}),
    "slash in a password": ("http://$('bob:SECRETA/SECRETB')@DEAD/", {}),
    "slash in a script's password": ("http://DEAD/", {"by_lua": f"{PARAMS}.url = 'http://bob:SECRETA/SECRETB@h/'"}),
    "hash in a password": ("http://$('bob:SECRETA#SECRETB')@DEAD/", {}),
    "another scheme": ("$('ftp://bob:SECRETA@h/?b=SECRETB')", {}),
    "one slash": ("$('http:/bob:SECRETA@h/')", {}),
    "vault in the path": ("http://DEAD/SECRETVAULT/x", VAULT),
    "vault value in an error": (
        "http://DEAD/",
        {
            "body": {"custom": {"k": "SECRETVAULT", "$refs": {"k": "{vault://env/k}"}}},
            "by_lua": f"error({PARAMS}.body.k)",
        },
    ),
    "encrypted field in an error": (
        "http://DEAD/",
        {
            "http_opts": {"proxy": {"http_proxy": "http://DEAD", "auth_username": "u", "auth_password": "SECRETPROXY"}},
            "by_lua": f"error({PARAMS}.proxy.auth_password)",
        },
    ),
}


def _at(value: Any, address: str) -> Any:
    if isinstance(value, dict):
        return {name: _at(one, address) for name, one in value.items()}
    return value.replace("DEAD", address) if isinstance(value, str) else value


@pytest.mark.parametrize(("url", "request_"), CASES.values(), ids=CASES.keys())
def test_secrets_do_not_leave(
    engine: Engine,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
    url: str,
    request_: dict[str, Any],
) -> None:
    """However a callout fails, no log line, log record or answer holds a credential, header or query value."""
    address = dead()
    assert SECRET.findall(seen(engine, caplog, _at(url, address), **_at(request_, address))) == []


def test_secrets_of_a_response_do_not_leave(
    engine: Engine,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
    httpserver: HTTPServer,
) -> None:
    """The headers and the body of a response that is an error are in no log line, log record or answer."""
    httpserver.expect_request("/").respond_with_data("SECRETBODY{", 503, {"Set-Cookie": "SECRETCOOKIE"})
    out = seen(engine, caplog, httpserver.url_for("/"), error={"http_statuses": [503]})
    assert "503" in out
    assert SECRET.findall(out) == []


def server_log(engine: Engine, capfd: pytest.CaptureFixture[str], script: str) -> str:  # noqa: F811
    """What the server process would write about one callout with this script."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    set_up_logging("debug")
    try:
        request = {"url": f"http://{dead()}/", "by_lua": script}
        engine.instance({"__plugin_id": "p", "callouts": [{"name": "a", "request": request}]}).access(client())
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    return capfd.readouterr().err


FORGED = "x\r\n2026-01-01 00:00:00,000 ERROR forged"


@pytest.mark.parametrize(
    "script",
    [
        "error(LINE)",
        f"{PARAMS}.method = LINE",
        f"{PARAMS}.headers[LINE] = 'v'",
        f"{PARAMS}.url = 'http://h' .. LINE .. '/'",
        f"{PARAMS}.url = LINE",
        "kong.service.request.set_body({a = 1}, LINE)",
        "kong[LINE]()",
    ],
)
def test_one_event_cannot_forge_a_log_line(
    engine: Engine,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
    script: str,
) -> None:
    """A line break or control character of a script or a client starts no new line in the server's log."""
    lines = server_log(engine, capfd, f"local LINE = {FORGED!r}\n{script}").splitlines()
    assert lines
    assert [line for line in lines if re.match(r"\S+ \S+ ERROR forged", line, re.IGNORECASE)] == []


def test_a_log_line_has_a_bounded_length(
    engine: Engine,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An error of a megabyte is cut in the log."""
    assert 0 < len(server_log(engine, capfd, "error(('x'):rep(1e6))")) < 50_000
