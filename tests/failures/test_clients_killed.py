"""What is left of clients, and of a gateway, that died in the middle of their requests."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.callee import PATIENCE_S, Callee, Received, Reply, reply_json
from tests.failures import clients, stage
from tests.failures.stage import BACK_WITHIN_S, CLIENTS, ROOT, STATUSES, PluginServer, load, passed_with_callouts

ROUNDS = 4
AT_ONCE = 32
RESET = struct.pack("ii", 1, 0)
"""``SO_LINGER`` of a socket whose end is a reset."""


class HeldTokens:
    """The service of the callouts, which answers those of requests to ``/held`` only when ``released`` is set."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.callee = Callee(Reply())
        self.callee.on("/free", self._answer)
        self.callee.on("/held", lambda request: self._answer(request, self.released))
        self.url = self.callee.url

    @staticmethod
    def _answer(request: Received, released: threading.Event | None = None) -> Reply:
        hold = None if released is None else lambda: released.wait(PATIENCE_S)
        return reply_json({"token": stage.token(stage.identity_of(request.query))}, hold=hold)


@pytest.fixture
def held() -> Iterator[HeldTokens]:
    held = HeldTokens()
    yield held
    held.released.set()
    held.callee.close()


@pytest.fixture
def options() -> list[str]:
    """Connections to the callouts' service are not kept for long, so that they are not mistaken for a leak."""
    return ["--pool-idle-s", "0.2"]


@pytest.fixture
def configs(held: HeldTokens) -> dict[str, dict[str, object]]:
    return {path: stage.injection(held.url + path) for path in ("/free", "/held")}


def settled(server: PluginServer, connections: int) -> int:
    """The server's descriptors when they have come down to a number, or as they are if they never do."""
    deadline = time.monotonic() + PATIENCE_S
    while (held := server.descriptors()) > connections and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


def test_killed_and_reset_clients(
    tmp_path: Path,
    protocol: str,
    server: PluginServer,
    held: HeldTokens,
    configs: dict[str, dict[str, object]],
    upstream: Callee,
) -> None:
    """Clients that die in the middle of requests harm no other, and the server holds nothing of them afterwards."""
    at_rest, workers = server.descriptors(), server.workers()
    with (
        stage.gateway(tmp_path, protocol, upstream.url, configs, "--socket", server.path) as gateway,
        load(gateway.proxy, ["/free"]) as others,
    ):
        others.wait_for(200, 50)
        host, port = gateway.proxy.removeprefix("http://").split(":")
        for number in range(1, ROUNDS + 1):
            held.released.clear()
            command = [sys.executable, "-m", clients.__name__, host, port, str(AT_ONCE)]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
                reset = [
                    clients.begin((host, int(port)), f"reset-{number}-{one}", clients.WHOLE)
                    for one in range(AT_ONCE // 2)
                ]
                # Half of the process's requests have all of their body, and so have all that are reset.
                assert held.callee.arrived("/held", number * AT_ONCE)
                assert server.descriptors() >= at_rest + AT_ONCE
                process.kill()
                for sock in reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    sock.close()
                killed_at = time.monotonic()
            back = others.wait_for(200, 1, began_after_s=killed_at)
            assert back.ended_s - killed_at < BACK_WITHIN_S
            held.released.set()
            others.wait_for(200, CLIENTS, began_after_s=time.monotonic())
    assert others.statuses() == {200}
    passed_with_callouts(upstream, others.answers)
    assert settled(server, at_rest) <= at_rest
    assert server.workers() == workers


def test_killed_gateway(
    tmp_path: Path,
    protocol: str,
    server: PluginServer,
    held: HeldTokens,
    configs: dict[str, dict[str, object]],
    upstream: Callee,
) -> None:
    """A gateway that is killed in the middle of events leaves nothing in the server, and another one is served."""
    at_rest, workers = server.descriptors(), server.workers()
    with stage.gateway(tmp_path, protocol, upstream.url, configs, "--socket", server.path) as gateway:
        host, port = gateway.proxy.removeprefix("http://").split(":")
        asking = [clients.begin((host, int(port)), f"asked-{one}", clients.WHOLE) for one in range(CLIENTS)]
        assert held.callee.arrived("/held", CLIENTS)
        os.kill(gateway.pid, signal.SIGKILL)
        for sock in asking:
            sock.close()
    held.released.set()
    assert settled(server, at_rest) <= at_rest
    with (
        stage.gateway(tmp_path, protocol, upstream.url, configs, "--socket", server.path) as gateway,
        load(gateway.proxy, ["/free", "/held"]) as others,
    ):
        others.wait_for(200, 50)
    assert others.statuses() <= STATUSES[protocol]
    passed_with_callouts(upstream, others.answers)
    assert settled(server, at_rest) <= at_rest
    assert server.workers() == workers
