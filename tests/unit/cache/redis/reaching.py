"""How the tests reach a Redis, or what only pretends to be one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gevent
import pytest
from gevent.server import StreamServer

from request_callout.cache.redis.clients import connect
from request_callout.cache.redis.reports import Reports
from request_callout.cache.redis.store import RedisStore
from request_callout.cache.store import CachedResponse
from request_callout.config import model, typed
from request_callout.config.normal import normal
from request_callout.config.schema import schema_at

LIMIT_S = 30.0
RESPONSE = CachedResponse(200, {"Content-Type": "text/plain"}, b"\xffbody", callout="auth", plugin_id="p1")


def settings(port: int, **changes: Any) -> model.Redis:
    """The defaults, with short time limits."""
    redis = typed.cache(normal({"strategy": "redis"}, schema_at("cache"))).redis
    short = {"connect_timeout_ms": 300, "send_timeout_ms": 300, "read_timeout_ms": 300}
    return replace(redis, port=port, **{**short, **changes})


@contextmanager
def store_of(redis: model.Redis, secrets: tuple[str, ...] = ()) -> Iterator[RedisStore]:
    """A store of its own, closed afterwards."""
    store = RedisStore(connect(redis), Reports(f"here:{redis.port}", secrets))
    try:
        yield store
    finally:
        store.close()


def until(holds: Callable[[], Any], what: str) -> None:
    """Let other greenlets run until something holds; an assertion error if it takes too long."""
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end, f"waited {LIMIT_S} s for {what}"
        gevent.sleep(0.01)


def lines(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    """The log lines with this text."""
    return [message for message in caplog.messages if part in message]


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """All warnings."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class Pretender:
    """A server that answers each piece it reads with the same bytes; None: it closes instead. Counts connections."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.connections = 0
        self._server = StreamServer(("127.0.0.1", 0), self._serve)

    @property
    def port(self) -> int:
        return int(self._server.address[1])

    def __enter__(self) -> Pretender:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def _serve(self, sock: Any, _: object) -> None:
        self.connections += 1
        try:
            while self.answer is not None and sock.recv(65536):
                sock.sendall(self.answer)
        except OSError:
            pass
        finally:
            sock.close()
