"""What the table of troubles says is provoked: the client gets that answer, and the log has those words."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from request_callout.cli.demo.process import GatewayProcess
from request_callout.cli.demo.services import StandIns
from tests.docs.pages import text_of

Config = dict[str, Any]


@dataclass(frozen=True)
class Trouble:
    """What leads to the words of a row: a configuration, how often it is asked, with which body."""

    config: Callable[[str, int], Config]
    times: int = 1
    body: str | None = None


def one(url: str, **request: Any) -> Config:
    return {"callouts": [{"name": "c", "request": {"url": url, **request}}]}


def script(text: str) -> Trouble:
    return Trouble(lambda at, closed: one(at + "/get", by_lua=text))


TROUBLES = {
    "connection refused by": Trouble(lambda at, closed: one(f"http://127.0.0.1:{closed}/")),
    "can't resolve": Trouble(lambda at, closed: one("http://no-such-host.invalid/")),
    "TLS failed": Trouble(lambda at, closed: one(at.replace("http:", "https:"))),
    "read timed out after": Trouble(
        lambda at, closed: one(at + "/delay/5", http_opts={"timeouts": {"connect": 5000, "write": 5000, "read": 50}})
    ),
    "the total time of": Trouble(lambda at, closed: one(at + "/delay/5", http_opts={"timeouts": {"total": 50}})),
    "the deadline of all callouts has passed": Trouble(lambda at, closed: {**one(at + "/delay/5"), "deadline_ms": 50}),
    "status 503": Trouble(lambda at, closed: one(at + "/status/503", error={"http_statuses": [503], "retries": 1})),
    "is open for another": Trouble(
        lambda at, closed: one(
            at + "/status/500", error={"http_statuses": [500]}, circuit_breaker={"failures": 2, "open_ms": 600000}
        ),
        times=3,
    ),
    "the response body is not JSON": Trouble(
        lambda at, closed: {"callouts": [{**one(at + "/xml")["callouts"][0], "response": {"body": {"decode": True}}}]}
    ),
    "the response's body is over": Trouble(lambda at, closed: one(at + "/get", http_opts={"max_response_bytes": 10})),
    "answered with 400": Trouble(
        lambda at, closed: one(
            at + "/post", method="POST", body={"forward": True, "decode": True, "custom": {"a": "1"}}
        ),
        body="[1]",
    ),
    "by_lua: line 1: boom": script("error('boom')"),
    "it took more than 10000000 instructions": script("while true do end"),
    "bytes of memory": script("local t = {} for i = 1, 1e8 do t[i] = {i} end"),
    "not allowed within sandbox": script("local x = require 'resty.http'"),
    "attempt to index global 'io'": script("io.open('x')"),
    "the result is no valid http or https URL": Trouble(lambda at, closed: one("$(query_params.url)")),
    "is refused": Trouble(lambda at, closed: one("http://$(query_params.host or '169.254.169.254')/")),
    "is no host name or address": Trouble(
        lambda at, closed: {"callouts": [], "upstream": {"target": {"host": "$(query_params.host)"}}}
    ),
    "is not used until it answers again": Trouble(
        lambda at, closed: {**one(at + "/get"), "cache": {"strategy": "redis", "redis": {"port": closed}}}
    ),
    "its response is not kept": Trouble(
        lambda at, closed: {
            "callouts": [{**one(at + "/get")["callouts"][0], "cache": {"ttl": "$(-1)"}}],
            "cache": {"strategy": "memory"},
        }
    ),
}
SWITCHED_OFF = ("Lua is switched off on this server", "has a bad configuration")


def rows() -> dict[str, str]:
    """By the words of the log, what the client gets."""
    section = text_of("docs/operations.md").partition("## What is wrong, and what to do\n")[2]
    cells = [line.split(" | ") for line in section.partition("And on Kong's side")[0].splitlines()[5:]]
    return {found[1]: cell[0] for cell in cells if len(cell) == 4 and (found := re.fullmatch("`(.*)`", cell[1]))}


def declarative(site: Path, upstream: str, configurations: dict[str, Config]) -> Path:
    """A file with a route for each configuration, named by its place."""
    routes = [
        {"name": f"r{number}", "paths": [f"/{number}/"], "plugins": [{"name": "request-callout", "config": config}]}
        for number, config in enumerate(configurations.values())
    ]
    document = {"_format_version": "3.0", "services": [{"name": "s", "url": upstream, "routes": routes}]}
    file = site / "kong.json"
    file.write_text(json.dumps(document))
    return file


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with StandIns() as services, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and nothing listens
        at, closed = services.addresses["httpbin"], int(bound.getsockname()[1])
        configurations = {words: trouble.config(at, closed) for words, trouble in TROUBLES.items()}
        file = declarative(tmp_path_factory.mktemp("site"), services.addresses["upstream"], configurations)
        with GatewayProcess(file) as process:
            yield process


def test_each_row_is_provoked() -> None:
    """The table has no row that nothing here leads to."""
    assert rows().keys() == {*TROUBLES, *SWITCHED_OFF}


@pytest.mark.parametrize("words", TROUBLES)
def test_trouble_is_as_the_table_says(gateway: GatewayProcess, words: str) -> None:
    """The client gets what the row says, and a line of the log with this request's id has its words."""
    trouble = TROUBLES[words]
    url = f"{gateway.proxy}/{list(TROUBLES).index(words)}/"
    before = len(gateway.log())
    for _ in range(trouble.times):
        answer = requests.request("GET" if trouble.body is None else "POST", url, data=trouble.body, timeout=60)
    expected = rows()[words].strip("| ")
    status, _, told = expected.partition(" ")
    assert answer.status_code == (200 if status == "as" else int(status))
    if told.startswith("`"):
        assert told.strip("`") in answer.text
    assert words in gateway.log()[before:]


def test_lua_switched_off(tmp_path: Path) -> None:
    """Where Lua is switched off, a configuration with Lua is bad, which the first request finds out."""
    file = declarative(tmp_path, "http://127.0.0.1:1", {"": one("http://127.0.0.1:1", by_lua="return")})
    with GatewayProcess(file, ["--serve-option=--untrusted-lua=off"]) as process:
        assert requests.get(f"{process.proxy}/0/", timeout=60).status_code == 500
        assert all(words in process.log() for words in SWITCHED_OFF)
