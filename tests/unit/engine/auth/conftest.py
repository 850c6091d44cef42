from __future__ import annotations

from collections.abc import Iterator

import pytest

from request_callout.engine import Engine
from tests.unit.engine.auth.token_server import TokenServer
from tests.unit.engine.gevent_callee import Callee, Clock, engine_with


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    server = TokenServer()
    yield server
    server.close()


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee()
    yield callee
    callee.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(clock: Clock) -> Iterator[Engine]:
    """An engine whose time is the clock's."""
    engine = engine_with(clock)
    yield engine
    engine.close()
