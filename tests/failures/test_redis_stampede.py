"""A thousand equal requests at once, of which none finds anything in the cache."""

from __future__ import annotations

import fcntl
import os
import resource
import struct
import termios
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.callee import Callee, Reply, reply_json
from tests.failures.cached_stage import cached
from tests.failures.stage import PluginServer, until
from tests.servers.redis_server import HOST, running
from tests.unit.server.kong_side import KongSide
from tests.unit.server.processes import connect

REQUESTS = 1000
WITHIN_S = 30.0
TIMEOUTS = ("connect_timeout", "send_timeout", "read_timeout")
"""A Redis that a busy machine makes slow must not count as one that is down: then each worker calls for itself."""


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """A connection for each request, on the side of this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Asking(KongSide):
    """A connection that knows whether the server has read what it was told.

    ``told_at`` is which of all frames has the last thing that the cache's key needs; 0 while it was not asked for.
    """

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.told_at = 0
        self._sent = 0

    def send(self, content: bytes) -> None:
        super().send(content)
        self._sent += 1

    def tells_now(self) -> None:
        """The next frame is the one."""
        self.told_at = self._sent + 1

    def is_understood(self) -> bool:
        """Whether the server has read that frame; it has looked into the cache then, before it reads another one."""
        return 0 < self.told_at <= self._sent and not _unread_bytes(self.sock)


def _unread_bytes(sock: Any) -> int:
    """How much of what was sent on a Unix socket the other side has not read."""
    (size,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(size)


class Stampede:
    """Kong's side of all the requests; ``states`` counts what the cache did for those that got the right value."""

    def __init__(
        self, folder: Path, workers: int, cache: Mapping[str, Any], looked_up: Callable[[], int] | None
    ) -> None:
        self._looked_up = looked_up
        self.states: Counter[str] = Counter()
        self._asking: list[Asking] = []
        self._lock = threading.Lock()
        self._together = threading.Barrier(REQUESTS)
        self._callee = Callee(Reply())
        answer = reply_json({"token": "value", "call": 1}, hold=self._wait_for_all)
        self._callee.on("/", answer)
        self._config = {**cached(self._callee.url, cache), "__plugin_id": "20f2bf6a-ce1e-5e65-9bbc-34373393c753"}
        # On a busy machine a turn of a worker's loop with hundreds of requests in it takes seconds.
        self._server = PluginServer(folder, "protobuf", ["--workers", str(workers), "--watchdog", "0"])

    def run(self) -> None:
        """All of them at once, each on a connection of its own."""
        threads = [threading.Thread(target=self._request) for _ in range(REQUESTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def calls(self) -> int:
        """How often the callee was called."""
        return len(self._callee.received())

    def close(self) -> None:
        self._server.close()
        self._callee.close()

    def _request(self) -> None:
        kong = Asking(connect(self._server.path).sock)
        instance = kong.start(self._config)
        self._together.wait()
        calls = kong.event(instance, partial(self._answer, kong))
        (headers,) = (args[0] for name, args in calls if name == "kong.service.request.set_headers")
        with self._lock:
            self.states[headers["X-Cache"] if headers["X-Value"] == "value" else "wrong"] += 1
        kong.sock.close()

    def _answer(self, kong: Asking, name: str, _args: tuple[Any, ...]) -> str | None:
        if name == "kong.client.get_consumer":  # the last thing that the key needs
            kong.tells_now()
            with self._lock:
                self._asking.append(kong)
                last = len(self._asking) == REQUESTS
            if last:
                self._check_workers()
        return "key=all" if name == "kong.request.get_raw_query" else None

    def _wait_for_all(self) -> None:
        until(lambda: len(self._asking) == REQUESTS, "all requests to need the cache", WITHIN_S)
        until(
            lambda: all(kong.is_understood() for kong in self._asking), "all of them to have looked into it", WITHIN_S
        )
        looked_up = self._looked_up
        if looked_up is not None:  # a look-up takes a while; one process that polls adds some of its own
            until(lambda: looked_up() >= REQUESTS * 0.8, "most of them to have found nothing in it", WITHIN_S)

    def _check_workers(self) -> None:
        """No worker has so few of the connections that another one could have done it alone."""
        for worker in self._server.workers():
            assert len(os.listdir(f"/proc/{worker}/fd")) > REQUESTS / 10


def check_one_callout(
    folder: Path, workers: int, cache: Mapping[str, Any], looked_up: Callable[[], int] | None = None
) -> None:
    """One callout; who was late found what it gave, most waited for it. ``looked_up``: how often nothing was found."""
    stampede = Stampede(folder, workers, cache, looked_up)
    try:
        stampede.run()
        assert stampede.calls() == 1
    finally:
        stampede.close()
    states = stampede.states
    print(dict(states))
    assert states["miss"] == 1
    assert states["coalesced"] + states["hit"] == REQUESTS - 1
    assert states["coalesced"] > REQUESTS / 2


def test_one_worker_with_the_memory_cache(tmp_path: Path) -> None:
    """A thousand equal requests at once on one worker are one callout."""
    check_one_callout(tmp_path, 1, {"strategy": "memory"})


def test_two_workers_with_an_empty_redis(tmp_path: Path) -> None:
    """A thousand equal requests at once on two workers are one callout."""
    with running() as redis:
        where = {"host": HOST, "port": redis.port, **dict.fromkeys(TIMEOUTS, 20_000)}

        def misses() -> int:
            stats: dict[str, Any] = dict(
                line.split(":", 1) for line in redis.command("INFO", "stats").splitlines() if ":" in line
            )
            return int(stats["keyspace_misses"])

        check_one_callout(tmp_path, 2, {"strategy": "redis", "redis": where}, misses)
