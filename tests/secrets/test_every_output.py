"""One gateway with every output switched on: no secret comes out of any."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from request_callout.cli import main
from tests.conformance.callee import Callee
from tests.conformance.site import default_upstream
from tests.secrets.everywhere import IN_ANSWERS, everywhere
from tests.secrets.planted import Planted, configurations, services
from tests.secrets.quoting import REDIS_USER, quote_back, quoting
from tests.secrets.site import readable_by_others, watched
from tests.servers.redis_server import HOST, running

IN_TRACES = {"response's body", "config: body"}
"""What stands in traces on purpose: bodies, and members of them, that no name tells to be secrets (docs/traces.md)."""

BY_DESIGN = {**dict.fromkeys(("traces", "trace ID", "trace page"), IN_TRACES), "answers": IN_ANSWERS}

ALIVE = {
    "answers": "Server-Timing",
    "log": "attempt 1",
    "metrics": "request_callout_attempts_total{",
    "health": "ok",
    "spans": "REDACTED",
    "processes": "--debug-secret-file",
    "traces": "***",
    "trace --json": "duration_ms",
    "trace ID": "***",
    "trace page": "***",
    "doctor": "plugin",
    "cache ls": "callout",
    "cache, refused": "password",
    "admin": "client_secret",
}
"""By output what tells that it has told something."""


def cache_told(planted: Planted, port: int) -> dict[str, str]:
    """What the commands for the cache tell of a Redis, with the right password and with a wrong one."""

    def run(password: str, *arguments: str) -> str:
        url = f"redis://{REDIS_USER}:{planted(password)}@{HOST}:{port}"
        told = CliRunner(env={"REQUEST_CALLOUT_REDIS_URL": url}).invoke(main, ["cache", *arguments])
        return told.output

    wrong = "redis: wrong password"
    return {
        "cache ls": run("vault: redis password", "ls") + run("vault: redis password", "ls", "--json"),
        "cache, refused": run(wrong, "ls") + run(wrong, "get", "x") + run(wrong, "purge", "--all"),
    }


@pytest.fixture
def upstream() -> Iterator[Callee]:
    upstream = Callee(default_upstream())
    yield upstream
    upstream.close()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A place for sockets, whose paths are short."""
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        yield Path(name)


@pytest.mark.parametrize(("protocol", "log_format"), [("protobuf", "text"), ("msgpack", "json")])
def test_no_output_of_a_gateway_holds_a_secret(
    tmp_path: Path, temporary: Path, upstream: Callee, protocol: str, log_format: str
) -> None:
    """Log, metrics, health, spans, traces in all forms, answers, command lines: whatever fails and however."""
    planted = Planted()
    password = planted("vault: redis password")
    users = ["--user", REDIS_USER, "on", f">{password}", "~*", "+@all", "--user", "default", "off"]
    with services(planted) as to, running(*users) as redis:
        quote_back(to, planted)
        failing = configurations(planted, to, redis_port=1)
        del failing["misconfigured"]  # Kong would not take it
        configs = {**failing, **{f"quoting: {name}": one for name, one in quoting(planted, to, redis.port).items()}}
        with watched(tmp_path, temporary, planted, configs, upstream, protocol, log_format) as (site, paths):
            site.ask_all(paths)
            texts = {**site.look(), **cache_told(planted, redis.port)}
            assert readable_by_others(temporary) == []
    assert {name: word in texts[name] for name, word in ALIVE.items()} == dict.fromkeys(texts, True)
    found = {name: set(planted.seen_in(text)) - BY_DESIGN.get(name, set()) for name, text in texts.items()}
    assert found == {name: set() for name in texts}


@pytest.mark.parametrize(("protocol", "log_format"), [("protobuf", "json"), ("msgpack", "text")])
def test_no_output_holds_what_came_from_a_vault(
    tmp_path: Path, temporary: Path, upstream: Callee, protocol: str, log_format: str
) -> None:
    """The same for a secret at every place of the schema that a vault may fill."""
    planted = Planted()
    with services(planted) as to, running("--requirepass", planted("redis: password")) as redis:
        quote_back(to, planted)
        configs = everywhere(planted, to, redis.port)
        with watched(tmp_path, temporary, planted, configs, upstream, protocol, log_format) as (site, paths):
            site.ask_all(paths)
            texts = site.look()
    told = {name: word for name, word in ALIVE.items() if name in texts}
    assert {name: word in texts[name] for name, word in told.items()} == dict.fromkeys(told, True)
    found = {name: set(planted.seen_in(text)) - BY_DESIGN.get(name, set()) for name, text in texts.items()}
    assert found == {name: set() for name in texts}
