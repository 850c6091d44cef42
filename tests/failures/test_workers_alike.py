"""Events are handled alike however many workers there are."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.failures.stage import CLIENTS, PluginServer, TokenService, injection, token
from tests.unit.server.kong_side import Called, KongSide
from tests.unit.server.processes import connect

EVENTS = 1600


def configurations(url: str) -> list[Mapping[str, Any]]:
    """A callout's result in a header, in a script, in the client's answer, and errors of a script and of a callout."""
    callout = injection(url)
    result = "kong.ctx.shared.callouts.auth.response.body.token"
    return [
        callout,
        {**callout, "upstream": {"by_lua": f"kong.service.request.set_header('X-Token', {result}:upper())"}},
        {**callout, "upstream": {"by_lua": f"kong.response.exit(403, {{token = {result}}})"}},
        {**callout, "upstream": {"by_lua": "local nothing; return nothing.here"}},
        injection("http://127.0.0.1:1"),
        {"callouts": [], "upstream": {"headers": {"custom": {"X-Id": "$(kong.request.get_header('x-id'))"}}}},
    ]


def outcomes(server: PluginServer, configs: list[Mapping[str, Any]]) -> dict[int, list[Called]]:
    """What each event came to, but for what is logged; each runs with an id of its own, over 16 connections."""
    numbers = iter(range(EVENTS))
    found: dict[int, list[Called]] = {}

    def run() -> None:
        kong: KongSide | None = None
        for number in numbers:
            identity = f"e{number}"
            kong = kong or connect(server.path)
            instance = kong.start(configs[number % len(configs)])
            answers = {"kong.request.get_raw_query": f"id={identity}", "kong.request.get_header": identity}
            calls = kong.event(instance, answers)
            found[number] = [(name, args) for name, args in calls if not name.startswith("kong.log.")]
            if any(name == "kong.response.exit" for name, _ in calls):
                kong = None  # as Kong, which drops the connection then
        if kong is not None:
            kong.sock.close()

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_one_worker_and_two_give_the_same(tmp_path: Path, tokens: TokenService) -> None:
    """The same events come to the same, call by call, on one worker and on two."""
    configs = configurations(tokens.url)
    came: list[dict[int, list[Called]]] = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        server = PluginServer(folder, "protobuf", ["--workers", str(workers)])
        try:
            came.append(outcomes(server, configs))
            assert len(server.workers()) == workers
        finally:
            server.close()
    one, two = came
    assert len(one) == EVENTS
    assert one == two
    for number in range(0, EVENTS, len(configs)):
        header = ("Authorization", f"Bearer {token(f'e{number}')}")
        assert ("kong.service.request.set_header", header) in one[number]
