"""What clients and the upstream see when a process dies in the middle of load."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from request_callout.cli.demo.process import GatewayProcess
from tests.conformance.callee import PATIENCE_S, Callee, Reply, reply_json
from tests.conformance.client import request

CLIENTS = 16


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee(reply_json({"token": "t0"}))
    yield callee
    callee.close()


@pytest.fixture
def upstream() -> Iterator[Callee]:
    upstream = Callee(Reply(body=b"ok"))
    yield upstream
    upstream.close()


@pytest.fixture
def gateway(tmp_path: Path, callee: Callee, upstream: Callee) -> Iterator[GatewayProcess]:
    plugin = {
        "name": "request-callout",
        "config": {
            "callouts": [{"name": "auth", "request": {"url": callee.url}, "response": {"body": {"decode": True}}}],
            "upstream": {"headers": {"custom": {"Authorization": "Bearer $(callouts.auth.response.body.token)"}}},
        },
    }
    service = {"name": "s", "url": upstream.url, "routes": [{"name": "r", "paths": ["/"], "plugins": [plugin]}]}
    file = tmp_path / "kong.yml"
    file.write_text(json.dumps({"_format_version": "3.0", "services": [service]}))
    with GatewayProcess(file, ["--log-level", "error"]) as gateway:
        yield gateway


class Load:
    """Clients that ask one after the other until told to stop; ``statuses`` has every answer with its moment."""

    def __init__(self, url: str) -> None:
        self.statuses: list[tuple[float, int]] = []
        self._url = url
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._stop.is_set():
            status = request(self._url).status
            with self._changed:
                self.statuses.append((time.monotonic(), status))
                self._changed.notify_all()

    def wait_for(self, status: int, times: int, after_s: float = 0.0) -> None:
        """Until so many answers with this status have come after a moment."""
        with self._changed:
            enough = self._changed.wait_for(
                lambda: sum(1 for at, one in self.statuses if one == status and at > after_s) >= times, PATIENCE_S
            )
        assert enough, f"no {times} answers with {status}: {self.statuses[-20:]}"

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_killed_plugin_server(gateway: GatewayProcess, upstream: Callee) -> None:
    """While the plugin server is dead nothing passes without its callout; when it is back, so is the service."""
    load = Load(gateway.proxy + "/")
    try:
        load.wait_for(200, 100)
        for child in children(gateway.pid):
            os.kill(child, signal.SIGKILL)
        killed_at = time.monotonic()
        load.wait_for(500, CLIENTS, after_s=killed_at)
        load.wait_for(200, 100, after_s=killed_at + 0.5)
    finally:
        load.stop()
    assert {status for _, status in load.statuses} == {200, 500}
    received = upstream.received()
    assert len(received) >= 200
    assert {one.header("authorization") for one in received} == {"Bearer t0"}
