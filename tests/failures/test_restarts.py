"""Instances' ids that are older than the server: no request may be served by another route's configuration.

``RESTART_REQUESTS`` in the environment is the number of requests through the gateway (2,000 unless set).
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.callee import PATIENCE_S, Callee
from tests.failures import stage
from tests.failures.stage import CLIENTS, STATUSES, PluginServer, load
from tests.unit.server.kong_side import Closed, KongSide
from tests.unit.server.processes import connect

ROUTES = ("/first", "/second")
HEADER = "X-Configured-By"
REQUESTS = int(os.environ.get("RESTART_REQUESTS", "2000"))
EVENTS = 10_000
RESTARTS = 5


def configured_by(route: str) -> dict[str, object]:
    """A configuration that tells the upstream whose it is."""
    return {"callouts": [], "upstream": {"headers": {"custom": {HEADER: route}}}}


@pytest.mark.timeout(max(120, REQUESTS // 50))
def test_requests_through_the_gateway(tmp_path: Path, protocol: str, server: PluginServer, upstream: Callee) -> None:
    """Two routes with a configuration each, a server that is killed and started again: each request has its own."""
    configs = {route: configured_by(route) for route in ROUTES}
    with (
        stage.gateway(tmp_path, protocol, upstream.url, configs, "--socket", server.path) as gateway,
        load(gateway.proxy, ROUTES) as clients,
    ):
        passed = 0
        for _ in range(RESTARTS):
            passed += REQUESTS // (RESTARTS + 1)
            clients.wait_for(200, passed)
            server.kill()
            server.start()
        clients.wait_for(200, REQUESTS)
    assert clients.statuses() <= STATUSES[protocol]
    received = Counter((one.path, *one.all(HEADER)) for one in upstream.received())
    assert set(received) == {(route, route) for route in ROUTES}, received


class KongWorker:
    """A worker of Kong that keeps the ids of instances when the server has gone, and tries them on the next one.

    Only when a server that it has just connected to does not know an id does it forget all, as Kong does.
    """

    def __init__(self, path: str, seed: int) -> None:
        self.stale = 0
        self._path = path
        self._random = random.Random(seed)
        self._ids: dict[str, int] = {}
        self._kong: KongSide | None = None

    def event(self, there: threading.Event) -> tuple[str, str]:
        """The route of one event, and whose configuration it ran."""
        route = self._random.choice(ROUTES)
        while True:
            assert there.wait(PATIENCE_S * 3)
            fresh = self._kong is None
            try:
                self._kong = self._kong or connect(self._path)
                known = route in self._ids
                if not known:
                    self._ids[route] = self._kong.start({**configured_by(route), "route_id": route})
                calls = self._kong.event(self._ids[route])
            except (Closed, OSError):
                self.close()
                if fresh and known:
                    self.stale += 1
                    self._ids.clear()
                continue
            (owner,) = [args[1] for name, args in calls if name == "kong.service.request.set_header"]
            return route, owner

    def close(self) -> None:
        if self._kong is not None:
            self._kong.sock.close()
            self._kong = None


@pytest.mark.parametrize("protocol", ["protobuf"])
@pytest.mark.parametrize("options", [["--workers", "1"], ["--workers", "2"]], ids=["one worker", "two workers"])
def test_ten_thousand_events_with_ids_of_servers_that_are_gone(server: PluginServer) -> None:
    """Ids kept over each kill and restart, in the middle of events, run their own configuration or none."""
    there = threading.Event()
    there.set()
    lock = threading.Condition()
    ran: Counter[tuple[str, str]] = Counter()
    workers = [KongWorker(server.path, seed) for seed in range(CLIENTS)]

    def run(worker: KongWorker) -> None:
        while True:
            found = worker.event(there)
            with lock:
                ran[found] += 1
                lock.notify_all()
                if ran.total() >= EVENTS:
                    break
        worker.close()

    def wait_for(events: int) -> None:
        with lock:
            assert lock.wait_for(lambda: ran.total() >= events, PATIENCE_S * 3)

    threads = [threading.Thread(target=run, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for number in range(1, RESTARTS + 1):
        wait_for(number * EVENTS // (RESTARTS + 1))
        there.clear()
        server.kill()
        server.start()
        there.set()
    for thread in threads:
        thread.join(PATIENCE_S * 3)
        assert not thread.is_alive()
    assert ran.total() >= EVENTS
    assert set(ran) == {(route, route) for route in ROUTES}, ran
    stale = sum(worker.stale for worker in workers)
    assert stale >= RESTARTS
    print(f"{ran.total()} events, {stale} times an id of a server that was gone was tried and refused")
